"""SavedModel directories: read as the frozen graph of what they serve.

Nothing of the file runs but what restores its variables, and only operations that do no more.
"""

import os
from typing import Any, Dict, Iterable, List, Optional, Set

import tensorflow.compat.v1 as tf
from google.protobuf import message, text_format
from tensorflow.core.protobuf import saved_model_pb2  # has no public name
from tensorflow.python.grappler import tf_optimizer  # has no public name

from permafrost import files
from permafrost.errors import UserError, one_line, printable
from permafrost.training.checkpoints import finding

SERVING = 'serving_default'
# Operations that may restore and read variables.
RESTORE_OPS = {
    'Assign', 'AssignVariableOp', 'Const', 'Identity', 'NoOp', 'Pack', 'PartitionedCall',
    'Placeholder', 'PlaceholderWithDefault', 'ReadVariableOp', 'RestoreV2',
    'StatefulPartitionedCall', 'VarHandleOp', 'Variable', 'VariableV2'}
VARIABLE_OPS = {'VarHandleOp', 'Variable', 'VariableV2'}


def read_saved_model(directory: str, session_config: Optional[tf.ConfigProto] = None
                     ) -> tf.GraphDef:
    """Return the frozen graph of the signature `serving_default`, or of the only one.

    Raises UserError if the directory holds no such model, or this TensorFlow cannot load it.
    """
    meta = _serving_graph(directory)
    outputs = _outputs(meta, directory)
    if any(node.name == 'labels' and node.op == 'Const' for node in meta.graph_def.node):
        outputs.append('labels')  # the class names, as freeze_graph.py writes them
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        try:
            _restore(session, meta, directory)
            graph = _without_calls(session.graph.as_graph_def(), outputs)
            _check_nodes(_readers(graph), meta.graph_def, directory)
            return tf.graph_util.convert_variables_to_constants(session, graph, outputs)
        except OSError as error:
            raise UserError(f'{error.filename or directory}: {error.strerror}: copy the whole '
                            'SavedModel, with its variables')
        except (tf.errors.OpError, AssertionError, KeyError, TypeError, ValueError) as error:
            raise UserError(f'TensorFlow {tf.__version__} cannot load the SavedModel {directory}: '
                            f'{one_line(error, 300)}')


def _serving_graph(directory: str) -> tf.MetaGraphDef:
    """Return the graph for serving in saved_model.pb or .pbtxt."""
    saved = saved_model_pb2.SavedModel()
    binary = os.path.join(directory, 'saved_model.pb')
    try:
        if os.path.exists(binary):
            with files.open_regular(binary) as stream:
                saved.ParseFromString(stream.read())
        else:
            with open(binary + 'txt', encoding='utf-8') as stream:
                text_format.Parse(stream.read(), saved)
    except OSError as error:
        raise UserError(f'cannot read {error.filename} ({error.strerror})')
    except (message.DecodeError, text_format.ParseError, RecursionError,
            UnicodeDecodeError) as error:
        raise UserError(f'{directory} is damaged: {one_line(error)}: copy the SavedModel again')
    graphs = [meta for meta in saved.meta_graphs if 'serve' in meta.meta_info_def.tags]
    if len(graphs) != 1:
        raise UserError(f"{directory} has {len(graphs)} graphs with the tag 'serve': save it again "
                        'for serving')
    return graphs[0]


def _outputs(meta: tf.MetaGraphDef, directory: str) -> List[str]:
    """Return the nodes of the signature that serves: the default, or the only one with outputs."""
    signatures = {name: value for name, value in meta.signature_def.items() if value.outputs}
    found = signatures.get(SERVING) or (
        next(iter(signatures.values())) if len(signatures) == 1 else None)
    if found is None:
        names = ', '.join(printable(name) for name in sorted(signatures)[:8])
        raise UserError(f"{directory} has no signature '{SERVING}' (its signatures: "
                        f"{names or 'none'}): save it with one")
    return [tensor.name.split(':')[0] for tensor in found.outputs.values()]


def _restore(session: tf.Session, meta: tf.MetaGraphDef, directory: str) -> None:
    """Import `meta` into the default graph, and restore its variables in `session`."""
    _check_nodes([meta.saver_def.restore_op_name], meta.graph_def, directory)
    tf.import_graph_def(_without_devices(meta.graph_def), name='')
    restore = meta.saver_def.restore_op_name
    if restore and _has_variables(meta.graph_def):
        variables = os.path.join(directory, 'variables', 'variables')
        with finding.without_pattern(variables) as prefix:
            session.run(restore, {meta.saver_def.filename_tensor_name: prefix})


def _has_variables(graph: tf.GraphDef) -> bool:
    return any(node.op in {*VARIABLE_OPS, 'ReadVariableOp'} for node in graph.node)


def _readers(graph: tf.GraphDef) -> List[str]:
    """Return the names of the nodes that convert_variables_to_constants may run, to read variables.

    It runs them in the graph of the session, where they may have other inputs than in `graph`.
    """
    return [node.name + '/Read/ReadVariableOp' * (node.op == 'VarHandleOp')
            for node in _all_nodes(graph) if node.op in VARIABLE_OPS]


def _all_nodes(graph: tf.GraphDef) -> List[tf.NodeDef]:
    """Return the nodes of `graph` and of its functions."""
    return [*graph.node,
            *(node for function in graph.library.function for node in function.node_def)]


def _check_nodes(names: List[str], graph: tf.GraphDef, directory: str) -> None:
    """Raise UserError if running the nodes `names` would do more than restore or read variables."""
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function for function in graph.library.function}
    pending = list(names)
    visited: Set[str] = set()
    while pending:
        name = pending.pop().lstrip('^').split(':')[0]
        if name in visited or name not in nodes:
            continue
        visited.add(name)
        pending += nodes[name].input
        for node in [nodes[name], *_body(nodes[name], functions)]:
            if node.op not in RESTORE_OPS:
                raise UserError(
                    f'{directory}: restoring and reading its variables would run '
                    f"{printable(node.op)[:50]} ('{printable(node.name)[:100]}'), which is not "
                    'allowed: freeze it with the program that made it')


def _body(node: tf.NodeDef, functions: Dict[str, Any]) -> List[tf.NodeDef]:
    """Return the nodes of the functions that `node` calls, and of those that they call."""
    found: List[tf.NodeDef] = []
    pending, visited = [node], set()
    while pending:
        attributes = pending.pop().attr
        name = attributes['f'].func.name if 'f' in attributes else ''  # attr[...] would add it
        if name in functions and name not in visited:
            visited.add(name)
            found += functions[name].node_def
            pending += functions[name].node_def
    return found


def _without_devices(graph: tf.GraphDef) -> tf.GraphDef:
    """Return `graph` without placements, which are those of another machine."""
    plain = tf.GraphDef()
    plain.CopyFrom(graph)
    for node in _all_nodes(plain):
        node.device = ''
    return plain


def _without_calls(graph: tf.GraphDef, outputs: Iterable[str]) -> tf.GraphDef:
    """Return `graph` with the functions that it calls in its own nodes."""
    if not graph.library.function:
        return graph
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name='')
        meta = tf.train.export_meta_graph(graph=imported)
    fetched = meta.collection_def['train_op'].node_list
    fetched.value.extend(outputs)
    config = tf.ConfigProto()
    options = config.graph_options.rewrite_options
    options.optimizers.append('function')
    options.min_graph_nodes = -1  # also of small graphs
    inlined = tf_optimizer.OptimizeGraph(config, meta)
    return tf.graph_util.extract_sub_graph(inlined, list(outputs))

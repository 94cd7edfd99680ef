"""Graph passes."""

import collections

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.evaluation import graph_def
from permafrost.export import freeze
INTERFACE_NODES = ('images', 'inputs', 'predictions', 'probabilities')
LABELS = 'labels'

# What may be in a frozen file: arithmetic on tensors, without state, files or chance. A layer of
# models.net that needs another adds it here; label_image refuses what is not for inference.
ALLOWED_OPS = frozenset((
    'Placeholder Const Identity Cast Reshape Squeeze StridedSlice ConcatV2 Pad '
    'Conv2D DepthwiseConv2dNative MatMul BiasAdd MaxPool AvgPool LRN '
    'Relu Relu6 Elu Erf Sigmoid Softmax Mean Sub Mul Add AddV2 Square Sqrt Rsqrt Maximum Minimum '
    'RealDiv'
).split())

# The GraphDef version that TF 1.15 writes: an older TensorFlow than the one that froze a graph
# may load it, as nothing in it needs a newer.
GRAPH_DEF_VERSION = 134


def freeze_session(session, classes):
    """The GraphDef of the inference graph in `session`, with the weights it has, ready to write."""
    graph = graph_def.extract_subgraph(session.graph.as_graph_def(), ['probabilities'])
    graph = fold_batch_norm(remove_identities(variables_to_constants(graph, session)))
    graph.node.add(name=LABELS, op='Const').attr['value'].tensor.CopyFrom(
        tf.make_tensor_proto(classes, tf.string))
    graph.node[-1].attr['dtype'].type = tf.string.as_datatype_enum
    return strip_default_attrs(graph)


def variables_to_constants(graph, session):
    """`graph` with each variable a Const of its value in `session`."""
    variables = [node.name for node in graph.node if node.op in ('VarHandleOp', 'VariableV2')]
    of_name = {variable.op.name: variable for variable in tf.global_variables()}
    values = dict(zip(variables, session.run([of_name[name] for name in variables])))
    result = tf.GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.name in values:
            result.node.append(_const(node.name, values[node.name]))
        elif node.op == 'ReadVariableOp':
            new = result.node.add(name=node.name, op='Identity', input=node.input)
            new.attr['T'].CopyFrom(node.attr['dtype'])
        else:
            result.node.append(node)
    return result


def _const(name, value):
    node = tf.NodeDef(name=name, op='Const')
    node.attr['dtype'].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value))
    return node


def remove_identities(graph):
    """`graph` without Identity nodes: what a named one passes on takes its name."""
    nodes = {node.name: node for node in graph.node}
    passed = {node.name: node.input[0] for node in graph.node if node.op == 'Identity'}

    def source(name):
        while name in passed:
            name = passed[name]
        return name

    renamed = {}
    for name in INTERFACE_NODES:
        made = nodes.get(source(name))
        if name in passed and made and made.name not in INTERFACE_NODES and made.name not in renamed:
            renamed[made.name] = name
    kept = {name for name in passed if name in INTERFACE_NODES and name not in renamed.values()}
    passed = {name: passed[name] for name in passed if name not in kept}
    result = tf.GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.name not in passed:
            new = result.node.add()
            new.CopyFrom(node)
            new.name = renamed.get(node.name, node.name)
            new.input[:] = [renamed.get(source(name), source(name)) for name in node.input]
    return result


def fold_batch_norm(graph):
    """`graph`, whose weights are constants, with batch normalization in them and a bias.

    Between a convolution and its normalization there may be a pool of maxima where no scale is
    negative (and none is that is not trained): the largest number, scaled, is the largest of the
    scaled ones. Where what is normalized is no convolution with weights of its own, or is used
    elsewhere too, a multiplication and a bias take its place.
    """
    nodes = collections.OrderedDict((node.name, node) for node in graph.node)
    uses = collections.Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        if node.op.startswith('FusedBatchNorm'):
            if node.attr['is_training'].b:
                raise ValueError('%s normalizes by the batch: no inference graph' % node.name)
            freeze._fold_one(nodes, uses, node)
    result = tf.GraphDef(versions=graph.versions, node=nodes.values())
    return graph_def.extract_subgraph(result, ['probabilities'])


def _folded(nodes, uses, x, scale):
    """Puts the factors `scale` of the node `x` of `nodes` into the weights that it comes from.

    Returns the node to use in the place of `x`, and what is to be added besides; None where
    there are no weights that serve it alone.
    """
    last, before = x, nodes[x]
    while uses[x] == 1 and (
            before.op == 'MaxPool' and (scale >= 0).all() or
            before.op == 'Reshape' and nodes[before.input[0]].op == 'MatMul'):
        x = before.input[0]
        before = nodes[x]
    between, bias = x != last, None
    if before.op == 'BiasAdd' and uses[x] == 1 and nodes[before.input[1]].op == 'Const':
        bias = before.input[1]
        x = before.input[0]
        before = nodes[x]
    weights = nodes.get(before.input[1]) if before.op in graph_def.MATMUL_OPS else None
    if (weights is None or weights.op != 'Const' or not uses[x] == uses[weights.name] == 1
            or between and bias and uses[bias] != 1):
        return None
    value = _value(weights)
    by = scale.reshape(value.shape[2:]) if before.op == 'DepthwiseConv2dNative' else scale
    nodes[weights.name] = _const(weights.name, (value * by).astype(np.float32))
    added = _value(nodes[bias]) * scale if bias else 0.
    if between and bias:
        nodes[bias] = _const(bias, added.astype(np.float32))
        added = 0.
    return last if between else x, added


def _value(const):
    """The value of a Const node in double precision."""
    if const.op != 'Const':
        raise ValueError('%s is computed, not a constant' % const.name)
    return tf.make_ndarray(const.attr['value'].tensor).astype(np.float64)


def strip_default_attrs(graph):
    """`graph` without what an older TensorFlow may not know and none needs.

    That is attributes that have their default value, attributes for internal use, functions and
    debug information.
    """
    with tf.Graph().as_default() as imported:
        graph_def.import_graph(graph)
    result = tf.GraphDef()
    result.versions.producer = min(GRAPH_DEF_VERSION, graph.versions.producer)
    for node in graph.node:
        new = result.node.add(name=node.name, op=node.op, input=node.input)
        defaults = {attribute.name: attribute.default_value for attribute
                    in imported.get_operation_by_name(node.name).op_def.attr
                    if attribute.HasField('default_value')}
        for name, value in node.attr.items():
            if not name.startswith('_') and value != defaults.get(name):
                new.attr[name].CopyFrom(value)
    return result

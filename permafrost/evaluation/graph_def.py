"""Frozen graphs of any origin: read from a file, cut to what inference needs, imported."""

from typing import Any, Dict, Iterable, Optional

import tensorflow.compat.v1 as tf
from google.protobuf import message

from permafrost.errors import UsageError, UserError, one_line

MATMUL_OPS = ('Conv2D', 'DepthwiseConv2dNative', 'MatMul')  # their second input is the weights


def read_graph(path: str) -> tf.GraphDef:
    """Return the GraphDef in the file at `path`. Raises UserError if the file holds none."""
    graph = tf.GraphDef()
    try:
        with open(path, 'rb') as stream:
            graph.ParseFromString(stream.read())
    except OSError as error:
        raise UserError(f'cannot read {path} ({error.strerror}): name a frozen graph such as '
                        'trained_models/tuto.pb')
    except message.DecodeError:
        graph.Clear()
    if not graph.node or not all(node.name and node.op for node in graph.node):
        raise UserError(f'{path} is not a frozen graph (a binary GraphDef), or is truncated: name '
                        'a frozen graph such as trained_models/tuto.pb')
    return graph


def node_name(tensor: str) -> str:
    """Return the name of the node that an input of a node comes from: '^a' and 'a:1' are of 'a'."""
    return tensor.lstrip('^').split(':')[0]


def extract_subgraph(graph: tf.GraphDef, outputs: Iterable[str],
                     feeds: Iterable[str] = ()) -> tf.GraphDef:
    """Return the nodes of `graph` that compute `outputs` from `feeds`.

    Each feed, a float node, becomes a placeholder. What computes it is left out, so it is neither
    needed nor run. Raises UserError if a node is missing.
    """
    nodes = {node.name: node for node in graph.node}
    needed, pending = set(), list(outputs)
    while pending:
        name = pending.pop()
        if name not in nodes:
            raise UserError(f'the graph has no node {name!r}')
        if name not in needed:
            needed.add(name)
            if name not in feeds:
                pending += map(node_name, nodes[name].input)
    subgraph = tf.GraphDef(versions=graph.versions, library=graph.library)
    for node in graph.node:
        if node.name in needed and node.name in feeds:
            placeholder = subgraph.node.add(name=node.name, op='Placeholder')
            placeholder.attr['dtype'].type = tf.float32.as_datatype_enum
            shapes = node.attr.get('_output_shapes')  # old files have it; [] would add it
            if shapes is not None and shapes.list.shape:
                placeholder.attr['shape'].shape.CopyFrom(shapes.list.shape[0])
        elif node.name in needed:
            subgraph.node.add().CopyFrom(node)
    return subgraph


def import_graph(graph: tf.GraphDef, input_map: Optional[Dict[str, Any]] = None) -> None:
    """Import `graph` into the default graph. Raises UserError if TensorFlow rejects it."""
    try:
        tf.import_graph_def(graph, input_map, name='')
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError(f'TensorFlow {tf.__version__} cannot load this graph: '
                        f'{one_line(error, 300)}')


def accepts_raw_images(graph: tf.GraphDef) -> bool:
    """Return whether `graph` preprocesses decoded images itself."""
    return any(node.name == 'images' and node.op == 'Placeholder' for node in graph.node)


def input_size(graph: tf.GraphDef) -> int:
    """Return the side in pixels of the square images that the node `inputs` accepts.

    Raises UsageError if the graph does not tell.
    """
    for node in graph.node:
        if node.name == 'inputs':
            sides = [dimension.size for dimension in node.attr['shape'].shape.dim][1:3]
            if len(set(sides)) == 1 and sides[0] > 0:
                return sides[0]
    raise UsageError('the graph does not give the size of its images: add --image_size')


def inference_subgraph(graph: tf.GraphDef) -> tf.GraphDef:
    """Return the nodes of `graph` that compute `predictions`; all nodes if none has that name."""
    if 'predictions' not in {node.name for node in graph.node}:
        return graph
    return extract_subgraph(graph, ['predictions'], [] if accepts_raw_images(graph) else ['inputs'])

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


def extract_subgraph(graph: tf.GraphDef, outputs: Iterable[str],
                     feeds: Iterable[str] = ()) -> tf.GraphDef:
    """Return the nodes of `graph` that compute `outputs` from `feeds`, float nodes.

    Each feed becomes a placeholder. Raises UserError if a node is missing.
    """
    fed = tf.GraphDef(versions=graph.versions, library=graph.library)
    for node in graph.node:
        if node.name in feeds:
            placeholder = fed.node.add(name=node.name, op='Placeholder')
            placeholder.attr['dtype'].type = tf.float32.as_datatype_enum
            shapes = node.attr.get('_output_shapes', tf.AttrValue())  # old files have it
            for shape in shapes.list.shape[:1]:
                placeholder.attr['shape'].shape.CopyFrom(shape)
        else:
            fed.node.append(node)
    try:
        return tf.graph_util.extract_sub_graph(fed, list(outputs))
    except (AssertionError, KeyError) as error:
        raise UserError(f'a node is missing from the graph: {error}')


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
    """Return the side in pixels of the square images that the node `inputs` accepts."""
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

"""Frozen graphs, ours or anyone's: read, cut to what inference needs, and counted by operation."""

import tensorflow.compat.v1 as tf
from google.protobuf import message

from permafrost.errors import UsageError, UserError
MATMUL_OPS = ('Conv2D', 'DepthwiseConv2dNative', 'MatMul')


def read_graph(path):
    """The GraphDef in the file at `path`. Raises UserError where it holds none."""
    graph = tf.GraphDef()
    try:
        with open(path, 'rb') as stream:
            graph.ParseFromString(stream.read())
    except OSError as error:
        raise UserError('%s cannot be read (%s): name a frozen graph such as '
                        'trained_models/tuto.pb' % (path, error.strerror))
    except message.DecodeError:
        graph.Clear()
    if not graph.node or not all(node.name and node.op for node in graph.node):
        raise UserError('%s is not a frozen graph (a binary GraphDef), or is cut short: name one '
                        'such as trained_models/tuto.pb' % path)
    return graph


def input_node(tensor):
    """The name of the node that makes what a node's input `tensor` names."""
    return tensor.lstrip('^').split(':')[0]


def extract_subgraph(graph, outputs, feeds=()):
    """The part of `graph` that computes the nodes `outputs` from the float nodes `feeds`.

    What hangs upstream of a feed is left out, so that it is neither needed nor run; the feed
    becomes a placeholder. Raises UserError where a node is missing.
    """
    nodes = {node.name: node for node in graph.node}
    needed, waiting = set(), list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in nodes:
            raise UserError('the graph has no node %r' % name)
        if name not in needed:
            needed.add(name)
            waiting += [] if name in feeds else map(input_node, nodes[name].input)
    part = tf.GraphDef(versions=graph.versions, library=graph.library)
    for node in graph.node:
        if node.name in needed and node.name in feeds:
            new = part.node.add(name=node.name, op='Placeholder')
            new.attr['dtype'].type = tf.float32.as_datatype_enum
            shapes = node.attr.get('_output_shapes')  # older files have it; [] would add it
            if shapes is not None and shapes.list.shape:
                new.attr['shape'].shape.CopyFrom(shapes.list.shape[0])
        elif node.name in needed:
            part.node.add().CopyFrom(node)
    return part


def import_graph(graph, input_map=None):
    """Imports `graph` into the default graph. Raises UserError where TensorFlow refuses it."""
    try:
        tf.import_graph_def(graph, input_map, name='')
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError('TensorFlow %s cannot load this graph: %s' % (
            tf.__version__, ' '.join(str(error).split())[:300]))


def accepts_raw_images(graph):
    """Whether `graph` does the preprocessing itself, from decoded images."""
    return any(node.name == 'images' and node.op == 'Placeholder' for node in graph.node)


def input_size(graph):
    """The side of the square images that the node `inputs` takes.

    Raises UsageError where the graph does not say.
    """
    for node in graph.node:
        if node.name == 'inputs':
            sides = [dimension.size for dimension in node.attr['shape'].shape.dim][1:3]
            if len(set(sides)) == 1 and sides[0] > 0:
                return sides[0]
    raise UsageError('the graph does not say how large its images are: give --image_size')


def inference_subgraph(graph):
    """What of `graph` computes its predictions; all of it, where no node has that name."""
    if 'predictions' not in {node.name for node in graph.node}:
        return graph
    return extract_subgraph(graph, ['predictions'], [] if accepts_raw_images(graph) else ['inputs'])

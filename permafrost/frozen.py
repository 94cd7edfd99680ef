"""Frozen graphs, ours or anyone's: read, cut to what inference needs, and counted by operation."""

import collections
import re

import tensorflow.compat.v1 as tf
from google.protobuf import message

from models.net import BIAS_OPS, LRN_OPS, RELU_OPS, Layer, product
from permafrost.config import UsageError, UserError

PRODUCTS = ('Conv2D', 'DepthwiseConv2dNative', 'MatMul')
PER_OUTPUT = dict({'LRN': LRN_OPS}, **dict.fromkeys(
    ('BiasAdd', 'Add', 'AddV2', 'Sub', 'Mul', 'RealDiv', 'FusedBatchNorm', 'FusedBatchNormV2',
     'FusedBatchNormV3'), BIAS_OPS), **dict.fromkeys(
         ('Relu', 'Elu', 'Erf', 'Sigmoid'), RELU_OPS))
FREE = ('MaxPool', 'AvgPool', 'Mean', 'ConcatV2', 'Reshape', 'Squeeze', 'Pad',
        'StridedSlice')
COMPLETING = ('BiasAdd', 'Relu', 'Identity')  # part of the layer before
SILENT = ('Const', 'Identity', 'Placeholder', 'PlaceholderWithDefault', 'NoOp')
FLOAT = tf.float32.as_datatype_enum


def read(path):
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


def producer(tensor):
    """The name of the node that makes what a node's input `tensor` names."""
    return tensor.lstrip('^').split(':')[0]


def cut(graph, outputs, feeds=()):
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
            waiting += [] if name in feeds else map(producer, nodes[name].input)
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


def add(graph, input_map=None):
    """Imports `graph` into the default graph. Raises UserError where TensorFlow refuses it."""
    try:
        tf.import_graph_def(graph, input_map, name='')
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError('TensorFlow %s cannot load this graph: %s' % (
            tf.__version__, ' '.join(str(error).split())[:300]))


def takes_images(graph):
    """Whether `graph` does the preprocessing itself, from decoded images."""
    return any(node.name == 'images' and node.op == 'Placeholder' for node in graph.node)


def side(graph):
    """The side of the square images that the node `inputs` takes.

    Raises UsageError where the graph does not say.
    """
    for node in graph.node:
        if node.name == 'inputs':
            sides = [dimension.size for dimension in node.attr['shape'].shape.dim][1:3]
            if len(set(sides)) == 1 and sides[0] > 0:
                return sides[0]
    raise UsageError('the graph does not say how large its images are: give --image_size')


def inference(graph):
    """What of `graph` computes its predictions; all of it, where no node has that name."""
    if 'predictions' not in {node.name for node in graph.node}:
        return graph
    return cut(graph, ['predictions'], [] if takes_images(graph) else ['inputs'])


def op_types(graph):
    """{type: number of nodes} of all of `graph`."""
    return dict(collections.Counter(node.op for node in graph.node))


def layers(graph):
    """([Layer], [types of operations not counted]) of a frozen graph, for one image.

    A layer is an operation that computes, with the reading of weights, the bias and the ReLU that
    follow a convolution or product. What makes `inputs` of images is no layer. Counts are by the
    convention of models.net, and None where the shape of something cannot be told: operations
    that this TensorFlow does not know, images of any size. Params are all numbers in constants.
    """
    graph = inference(graph)
    nodes = {node.name: node for node in graph.node}
    shapes = _shapes(graph)
    before = {node.name for node in cut(graph, ['inputs']).node} if 'inputs' in nodes else ()
    found, uncounted = collections.OrderedDict(), set()
    for node in graph.node:
        head = _head(nodes, node)
        if node.op in SILENT or head.op in SILENT or node.name in before:
            continue
        shape = tuple(shapes[node.name][1:]) if node.name in shapes else None
        layer = Layer(_name(head), head.op, shape, _params(nodes, node), *_counts(node, shapes))
        if layer.ops is None:
            uncounted.add(node.op)
        old = found.get(head.name)
        found[head.name] = layer if old is None else Layer(
            old.name, old.kind, layer.output_shape, old.params + layer.params,
            _sum(old.ops, layer.ops), _sum(old.macs, layer.macs))
    return list(found.values()), sorted(uncounted)


def totals(layers):
    """{'params', 'ops', 'macs'} of all `layers`, as far as they are known."""
    return {count: sum(getattr(layer, count) or 0 for layer in layers)
            for count in ('params', 'ops', 'macs')}


def _sum(*counts):
    return None if None in counts else sum(counts)


def _name(node):
    """The scope of a node that is named after its operation in it, else its own name."""
    return re.sub(r'/%s(_\d+)?$' % re.escape(node.op), '', node.name)


def _head(nodes, node):
    """The convolution or product that `node` completes, or the Const that it reads; else itself."""
    head = node
    for _ in nodes:  # as many steps at most, should they go round
        if head is None or head.op not in COMPLETING or not head.input:
            break
        head = nodes.get(producer(head.input[0]))
    return head if head is not None and head.op in PRODUCTS + ('Const',) else node


def _params(nodes, node):
    """How many numbers there are in the float constants that `node` uses."""
    sources = [nodes.get(producer(name)) for name in node.input]
    constants = [_head(nodes, source) for source in sources if source is not None]
    return sum(product(_dimensions(constant)) for constant in constants
               if constant.op == 'Const' and constant.attr['dtype'].type == FLOAT)


def _dimensions(constant):
    return [dimension.size for dimension in constant.attr['value'].tensor.tensor_shape.dim]


def _shapes(graph):
    """{name of a node: known shape of its first output for a single image}."""
    shapes = {node.name: _dimensions(node) for node in graph.node if node.op == 'Const'}
    try:
        with tf.Graph().as_default() as imported:
            add(graph)
    except UserError:
        return shapes
    for operation in imported.get_operations():
        if operation.outputs and operation.outputs[0].shape.ndims:
            first, *others = operation.outputs[0].shape.as_list()
            if None not in others:
                shapes[operation.name] = [first or 1] + others
    return shapes


def _counts(node, shapes):
    """(ops, macs) of `node` for one image; None where unknown."""
    if node.op in FREE:
        return 0, 0
    size = product(shapes[node.name][1:]) if node.name in shapes else None
    if size and node.op in PER_OUTPUT:
        return PER_OUTPUT[node.op] * size, 0
    weights = shapes.get(producer(node.input[1])) if len(node.input) > 1 else None
    if size is None or weights is None or node.op not in PRODUCTS:
        return None, None
    if node.op == 'MatMul':
        macs = product(weights)
    else:
        macs = size * product(weights[:3 if node.op == 'Conv2D' else 2])
    return 2 * macs, macs

"""Layer counts."""

import collections
import re

import tensorflow.compat.v1 as tf

from models.layers import net
from permafrost.errors import UserError
from permafrost.evaluation import graph_def
PER_OUTPUT = dict({'LRN': net.LRN_OPS}, **dict.fromkeys(
    ('BiasAdd', 'Add', 'AddV2', 'Sub', 'Mul', 'RealDiv', 'FusedBatchNorm', 'FusedBatchNormV2',
     'FusedBatchNormV3'), net.BIAS_OPS), **dict.fromkeys(
         ('Relu', 'Elu', 'Erf', 'Sigmoid'), net.RELU_OPS))
FREE = ('MaxPool', 'AvgPool', 'Mean', 'ConcatV2', 'Reshape', 'Squeeze', 'Pad',
        'StridedSlice')
COMPLETING = ('BiasAdd', 'Relu', 'Identity')  # part of the layer before
SILENT = ('Const', 'Identity', 'Placeholder', 'PlaceholderWithDefault', 'NoOp')
FLOAT = tf.float32.as_datatype_enum


def op_types(graph):
    """{type: number of nodes} of all of `graph`."""
    return dict(collections.Counter(node.op for node in graph.node))


def count_layers(graph):
    """([Layer], [types of operations not counted]) of a frozen graph, for one image.

    A layer is an operation that computes, with the reading of weights, the bias and the ReLU that
    follow a convolution or product. What makes `inputs` of images is no layer. Counts are by the
    convention of models.net, and None where the shape of something cannot be told: operations
    that this TensorFlow does not know, images of any size. Params are all numbers in constants.
    """
    graph = graph_def.inference_subgraph(graph)
    nodes = {node.name: node for node in graph.node}
    shapes = _shapes(graph)
    before = {node.name for node in graph_def.extract_subgraph(graph, ['inputs']).node} if 'inputs' in nodes else ()
    found, uncounted = collections.OrderedDict(), set()
    for node in graph.node:
        head = _head(nodes, node)
        if node.op in SILENT or head.op in SILENT or node.name in before:
            continue
        shape = tuple(shapes[node.name][1:]) if node.name in shapes else None
        layer = net.Layer(_name(head), head.op, shape, _params(nodes, node), *_counts(node, shapes))
        if layer.ops is None:
            uncounted.add(node.op)
        old = found.get(head.name)
        found[head.name] = layer if old is None else net.Layer(
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
        head = nodes.get(graph_def.input_node(head.input[0]))
    return head if head is not None and head.op in graph_def.MATMUL_OPS + ('Const',) else node


def _params(nodes, node):
    """How many numbers there are in the float constants that `node` uses."""
    sources = [nodes.get(graph_def.input_node(name)) for name in node.input]
    constants = [_head(nodes, source) for source in sources if source is not None]
    return sum(net.product(_dimensions(constant)) for constant in constants
               if constant.op == 'Const' and constant.attr['dtype'].type == FLOAT)


def _dimensions(constant):
    return [dimension.size for dimension in constant.attr['value'].tensor.tensor_shape.dim]


def _shapes(graph):
    """{name of a node: known shape of its first output for a single image}."""
    shapes = {node.name: _dimensions(node) for node in graph.node if node.op == 'Const'}
    try:
        with tf.Graph().as_default() as imported:
            graph_def.import_graph(graph)
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
    size = net.product(shapes[node.name][1:]) if node.name in shapes else None
    if size and node.op in PER_OUTPUT:
        return PER_OUTPUT[node.op] * size, 0
    weights = shapes.get(graph_def.input_node(node.input[1])) if len(node.input) > 1 else None
    if size is None or weights is None or node.op not in graph_def.MATMUL_OPS:
        return None, None
    if node.op == 'MatMul':
        macs = net.product(weights)
    else:
        macs = size * net.product(weights[:3 if node.op == 'Conv2D' else 2])
    return 2 * macs, macs

"""Parameters and operations of a frozen graph, by the convention of models.layers.net."""

import collections
import re
from typing import Dict, List, Optional, Set, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from models.layers import net
from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import allowed_ops, graph_def
from permafrost.evaluation.frozen_graphs.feeding.layout import layout_of
from permafrost.evaluation.frozen_graphs.graph_def import MATMUL_OPS
from permafrost.evaluation.frozen_graphs.nodes import find_nodes, node_name, output_shape

# Operations counted for each output element.
ELEMENTWISE_OPS = {'LRN': net.LRN_OPS, **dict.fromkeys(
    ('BiasAdd', 'Add', 'AddV2', 'Sub', 'Mul', 'RealDiv', 'FusedBatchNorm', 'FusedBatchNormV2',
     'FusedBatchNormV3', 'Maximum', 'Minimum', 'Square', 'Sqrt', 'Rsqrt'), net.BIAS_OPS),
    **dict.fromkeys(('Relu', 'Relu6', 'LeakyRelu', 'Elu', 'Selu', 'Erf', 'Sigmoid', 'Tanh'),
                    net.RELU_OPS)}
FREE_OPS = ('MaxPool', 'AvgPool', 'Mean', 'ConcatV2', 'Reshape', 'Squeeze', 'Pad', 'StridedSlice',
            'Softmax', 'LogSoftmax', 'ExpandDims', 'Shape', 'Pack', 'Transpose', 'Cast',
            'Dequantize')
COMPLETING_OPS = ('BiasAdd', 'Relu', 'Identity')  # belong to the layer before
NO_LAYER_OPS = {'Const', 'Identity', 'IdentityN', 'Placeholder', 'PlaceholderWithDefault', 'NoOp'}
# Types of constants that hold weights; integers of 32 and 64 bits are shapes and axes.
WEIGHT_TYPES = {dtype.as_datatype_enum for dtype in (
    tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.int8, tf.uint8, tf.qint8, tf.quint8,
    tf.qint32)}

Nodes = Dict[str, tf.NodeDef]  # by name
Shapes = Dict[str, List[int]]  # name of a node -> shape of its first output for one image


def op_types(graph: tf.GraphDef) -> Dict[str, int]:
    """Return {type: number of nodes} of all of `graph`."""
    return dict(collections.Counter(node.op for node in graph.node))


def sparsity(graph: tf.GraphDef) -> float:
    """Return the share of zeros among the weights of convolutions and matrix products, 0 to 1."""
    nodes = {node.name: node for node in graph.node}
    zeros = total = 0
    for node in graph.node:
        weights = nodes.get(node_name(node.input[1])) if node.op in MATMUL_OPS else None
        if weights is not None and weights.op == 'Const':
            value = graph_def.value_of(weights)
            zeros, total = zeros + int(np.sum(value == 0)), total + value.size
    return zeros / max(total, 1)


def count_layers(graph: tf.GraphDef, image_size: Optional[int] = None
                 ) -> Tuple[List[net.Layer], List[str]]:
    """Return the layers of a frozen graph, for one image, and the operations that are not counted.

    A layer is an operation that computes, with its weights and, after a convolution or matrix
    product, the bias and ReLU that follow. What computes `inputs` from images is no layer. Params
    are all numbers in constants; those that layers share count for the first. Counts are None if a
    shape is unknown: because this TensorFlow does not know an operation, because the graph is too
    large, or because it accepts images of any size and `image_size` is None.
    """
    graph = allowed_ops.for_one_image(_between_input_and_output(graph, image_size))
    nodes = {node.name: node for node in graph.node}
    skipped = {node.name for node in graph_def.preprocessing(graph).node}
    heads = _heads(nodes)
    groups: Dict[str, List[tf.NodeDef]] = collections.OrderedDict()  # the nodes of each layer
    for node in graph.node:
        head = heads[node.name]
        if not {node.op, head.op} & NO_LAYER_OPS and node.name not in skipped:
            groups.setdefault(head.name, []).append(node)
    layers, shapes, takes_one = [], _shapes(graph), _takes_one_image(graph)
    uncounted: Set[str] = set()
    counted: Set[str] = set()  # constants
    for name, group in groups.items():
        costs = [_ops_and_macs(node, shapes, takes_one) for node in group]
        ops, macs = (None if None in counts else sum(counts) for counts in zip(*costs))
        uncounted.update(node.op for node, cost in zip(group, costs) if None in cost)
        kind, shape = nodes[name].op, shapes.get(group[-1].name)
        scope = re.sub(rf'/{re.escape(kind)}(_\d+)?$', '', name)
        constants = {each for node in group for each in _constants(nodes, heads, node)} - counted
        counted |= constants
        params = sum(net.product(shapes[each]) for each in constants)
        output_shape = tuple(shape[1:]) if shape else None
        layers.append(net.Layer(scope, kind, output_shape, params, ops, macs))
    return layers, sorted(uncounted)


def totals(layers: List[net.Layer]) -> Dict[str, Optional[int]]:
    """Return the sums of {'params', 'ops', 'macs'} of `layers`; None if a layer's is unknown."""
    columns = {count: [getattr(layer, count) for layer in layers] for count in
               ('params', 'ops', 'macs')}
    return {count: None if None in column else sum(column) for count, column in columns.items()}


def _between_input_and_output(graph: tf.GraphDef, image_size: Optional[int]) -> tf.GraphDef:
    """Return the part of `graph` that classifies, fed images of `image_size` if it takes
    any size; all of it if the nodes to feed and to fetch cannot be found."""
    try:
        nodes = find_nodes(graph, 'the graph')
    except UserError:
        return graph
    if not nodes.input or not nodes.output:
        return graph
    keep_type = any(node.name == nodes.input and node.op == 'Placeholder' for node in graph.node)
    graph = graph_def.extract_subgraph(graph, [nodes.output], [] if keep_type else [nodes.input])
    for node in graph.node:
        layout = layout_of(output_shape(node)) if node.name == nodes.input and image_size else None
        if layout and None in (layout.height, layout.width):
            shape = layout.sized(image_size, image_size).shape(layout.batch)
            node.attr['shape'].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return graph


def _heads(nodes: Nodes) -> Nodes:
    """Return {name: the convolution or product that the node completes, the Const it reads, or
    itself}."""
    ends: Nodes = {}  # of each chain of completing operations
    for node in nodes.values():
        chain: Nodes = {}  # a hostile graph may have a cycle
        end = node
        while (end.op in COMPLETING_OPS and end.input and end.name not in chain
               and end.name not in ends):
            chain[end.name] = end
            end = nodes.get(node_name(end.input[0]), end)
        ends.update(dict.fromkeys([*chain, end.name], ends.get(end.name, end)))
    return {name: ends[name] if ends[name].op in (*MATMUL_OPS, 'Const') else node
            for name, node in nodes.items()}


def _constants(nodes: Nodes, heads: Nodes, node: tf.NodeDef) -> Set[str]:
    """Return the names of the constants that `node` uses, without shapes."""
    inputs = [heads[name] for name in map(node_name, node.input) if name in nodes]
    return {each.name for each in inputs
            if each.op == 'Const' and each.attr['dtype'].type in WEIGHT_TYPES}


def _shapes(graph: tf.GraphDef) -> Shapes:
    shapes = {node.name: [dim.size for dim in node.attr['value'].tensor.tensor_shape.dim]
              for node in graph.node if node.op == 'Const'}
    if len(graph.node) > allowed_ops.ALLOWED.limits['kMaxNodes']:
        return shapes
    try:
        with tf.Graph().as_default() as imported:
            graph_def.import_graph(graph, allow_any_op=True)  # nothing runs
    except UserError:
        return shapes
    for operation in imported.get_operations():
        if operation.outputs and operation.outputs[0].shape.ndims is not None:
            sizes = operation.outputs[0].shape.as_list()
            if None not in sizes[1:]:
                shapes[operation.name] = [1 if size is None else size for size in sizes]
    return shapes


def _takes_one_image(graph: tf.GraphDef) -> bool:
    """Return whether the first size of tensors is for one image, not for a fixed batch."""
    sizes = [node.attr['shape'].shape.dim for node in graph.node if node.op == 'Placeholder']
    return all(each[0].size == 1 for each in sizes if len(each) > 1)


def _ops_and_macs(node: tf.NodeDef, shapes: Shapes, takes_one: bool
                  ) -> Tuple[Optional[int], Optional[int]]:
    """Return operations and multiply-accumulates of `node` for one image; None if unknown."""
    if node.op in FREE_OPS:
        return 0, 0
    shape = shapes.get(node.name)
    # A product on maps has a row for each position.
    rows = shape[0] if takes_one and shape else 1
    size = rows * net.product(shape[1:]) if shape is not None else None
    if size and node.op in ELEMENTWISE_OPS:
        return ELEMENTWISE_OPS[node.op] * size, 0
    weights = shapes.get(node_name(node.input[1])) if len(node.input) > 1 else None
    if size is None or weights is None or node.op not in MATMUL_OPS:
        return None, None
    if node.op == 'MatMul':
        macs = rows * net.product(weights)
    else:
        macs = size * net.product(weights[:3 if node.op == 'Conv2D' else 2])
    return 2 * macs, macs

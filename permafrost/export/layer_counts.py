"""Layer counts: parameters and operations of a frozen graph, by the convention of models.net."""

import collections
import re
from typing import Dict, List, Optional, Tuple

import tensorflow.compat.v1 as tf

from models.layers import net
from permafrost.errors import UserError
from permafrost.evaluation import graph_def
from permafrost.evaluation.graph_def import MATMUL_OPS, node_name

# Operations counted for each output element.
ELEMENTWISE_OPS = {'LRN': net.LRN_OPS}
ELEMENTWISE_OPS.update(dict.fromkeys(
    ('BiasAdd', 'Add', 'AddV2', 'Sub', 'Mul', 'RealDiv', 'FusedBatchNorm', 'FusedBatchNormV2',
     'FusedBatchNormV3'), net.BIAS_OPS))
ELEMENTWISE_OPS.update(dict.fromkeys(('Relu', 'Elu', 'Erf', 'Sigmoid'), net.RELU_OPS))
FREE_OPS = ('MaxPool', 'AvgPool', 'Mean', 'ConcatV2', 'Reshape', 'Squeeze', 'Pad', 'StridedSlice')
COMPLETING_OPS = ('BiasAdd', 'Relu', 'Identity')  # belong to the layer before
FLOAT = tf.float32.as_datatype_enum
NO_LAYER_OPS = ('Const', 'Identity', 'Placeholder', 'PlaceholderWithDefault', 'NoOp')

Shapes = Dict[str, List[int]]  # name of a node -> shape of its first output for one image


def op_types(graph: tf.GraphDef) -> Dict[str, int]:
    """Return {type: number of nodes} of all of `graph`."""
    return dict(collections.Counter(node.op for node in graph.node))


def count_layers(graph: tf.GraphDef) -> Tuple[List[net.Layer], List[str]]:
    """Return the layers of a frozen graph, for one image, and the operations that are not counted.

    A layer is an operation that computes, with its weights and, after a convolution or matrix
    product, the bias and ReLU that follow. What computes `inputs` from images is no layer. Params
    are all numbers in constants. Counts are None if a shape is unknown: because this TensorFlow
    does not know an operation, or because the graph accepts images of any size.
    """
    graph = graph_def.inference_subgraph(graph)
    nodes = {node.name: node for node in graph.node}
    shapes = _shapes(graph)
    preprocessing = graph_def.extract_subgraph(graph, ['inputs'] if 'inputs' in nodes else [])
    skipped = {node.name for node in preprocessing.node}
    layers: Dict[str, net.Layer] = collections.OrderedDict()
    uncounted = set()
    for node in graph.node:
        head = _head(nodes, node)
        if node.op in NO_LAYER_OPS or head.op in NO_LAYER_OPS or node.name in skipped:
            continue
        shape = tuple(shapes[node.name][1:]) if node.name in shapes else None
        ops, macs = _ops_and_macs(node, shapes)
        layer = net.Layer(_layer_name(head), head.op, shape, _params(nodes, node), ops, macs)
        if ops is None:
            uncounted.add(node.op)
        first = layers.get(head.name)
        if first is not None:
            layer = first._replace(
                output_shape=shape, params=first.params + layer.params,
                ops=None if None in (first.ops, ops) else first.ops + ops,
                macs=None if None in (first.macs, macs) else first.macs + macs)
        layers[head.name] = layer
    return list(layers.values()), sorted(uncounted)


def totals(layers: List[net.Layer]) -> Dict[str, int]:
    """Return the sums of the known {'params', 'ops', 'macs'} of `layers`."""
    return {count: sum(getattr(layer, count) or 0 for layer in layers)
            for count in ('params', 'ops', 'macs')}


def _layer_name(node: tf.NodeDef) -> str:
    """Return the scope of a node that is named after its operation, else the node's name."""
    return re.sub(rf'/{re.escape(node.op)}(_\d+)?$', '', node.name)


def _head(nodes: Dict[str, tf.NodeDef], node: tf.NodeDef) -> tf.NodeDef:
    """Return the convolution or product that `node` completes, or the Const it reads, or `node`."""
    head = node
    for _ in nodes:  # ends even if a hostile graph has a cycle
        if head is None or head.op not in COMPLETING_OPS or not head.input:
            break
        head = nodes.get(node_name(head.input[0]))
    return head if head is not None and head.op in MATMUL_OPS + ('Const',) else node


def _params(nodes: Dict[str, tf.NodeDef], node: tf.NodeDef) -> int:
    """Return how many numbers there are in the float constants that `node` uses."""
    inputs = [nodes[name] for name in map(node_name, node.input) if name in nodes]
    constants = [_head(nodes, source) for source in inputs]
    return sum(net.product(_const_shape(constant)) for constant in constants
               if constant.op == 'Const' and constant.attr['dtype'].type == FLOAT)


def _const_shape(constant: tf.NodeDef) -> List[int]:
    return [dimension.size for dimension in constant.attr['value'].tensor.tensor_shape.dim]


def _shapes(graph: tf.GraphDef) -> Shapes:
    shapes = {node.name: _const_shape(node) for node in graph.node if node.op == 'Const'}
    try:
        with tf.Graph().as_default() as imported:
            graph_def.import_graph(graph)
    except UserError:
        return shapes
    for operation in imported.get_operations():
        if operation.outputs and operation.outputs[0].shape.ndims:
            batch, *others = operation.outputs[0].shape.as_list()
            if None not in others:
                shapes[operation.name] = [batch or 1] + others
    return shapes


def _ops_and_macs(node: tf.NodeDef, shapes: Shapes) -> Tuple[Optional[int], Optional[int]]:
    """Return operations and multiply-accumulates of `node` for one image; None if unknown."""
    if node.op in FREE_OPS:
        return 0, 0
    size = net.product(shapes[node.name][1:]) if node.name in shapes else None
    if size and node.op in ELEMENTWISE_OPS:
        return ELEMENTWISE_OPS[node.op] * size, 0
    weights = shapes.get(node_name(node.input[1])) if len(node.input) > 1 else None
    if size is None or weights is None or node.op not in MATMUL_OPS:
        return None, None
    if node.op == 'MatMul':
        macs = net.product(weights)
    else:
        macs = size * net.product(weights[:3 if node.op == 'Conv2D' else 2])
    return 2 * macs, macs

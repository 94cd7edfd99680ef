"""Layer counts: parameters and operations of a frozen graph, by the convention of models.net."""

import collections
import re
from typing import Dict, List, Optional, Set, Tuple

import tensorflow.compat.v1 as tf

from models.layers import net
from permafrost.errors import UserError
from permafrost.evaluation import graph_def
from permafrost.evaluation.graph_def import MATMUL_OPS

# Operations counted for each output element.
ELEMENTWISE_OPS = {'LRN': net.LRN_OPS, **dict.fromkeys(
    ('BiasAdd', 'Add', 'AddV2', 'Sub', 'Mul', 'RealDiv', 'FusedBatchNorm', 'FusedBatchNormV2',
     'FusedBatchNormV3'), net.BIAS_OPS), **dict.fromkeys(
         ('Relu', 'Elu', 'Erf', 'Sigmoid'), net.RELU_OPS)}
FREE_OPS = ('MaxPool', 'AvgPool', 'Mean', 'ConcatV2', 'Reshape', 'Squeeze', 'Pad', 'StridedSlice')
COMPLETING_OPS = ('BiasAdd', 'Relu', 'Identity')  # belong to the layer before
NO_LAYER_OPS = {'Const', 'Identity', 'Placeholder', 'PlaceholderWithDefault', 'NoOp'}

Nodes = Dict[str, tf.NodeDef]  # by name
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
    preprocessing = graph_def.extract_subgraph(graph, ['inputs'] if 'inputs' in nodes else [])
    skipped = {node.name for node in preprocessing.node}
    groups: Dict[str, List[tf.NodeDef]] = collections.OrderedDict()  # the nodes of each layer
    for node in graph.node:
        head = _head(nodes, node)
        if not {node.op, head.op} & NO_LAYER_OPS and node.name not in skipped:
            groups.setdefault(head.name, []).append(node)
    layers, shapes = [], _shapes(graph)
    uncounted: Set[str] = set()
    for name, group in groups.items():
        costs = [_ops_and_macs(node, shapes) for node in group]
        ops, macs = (None if None in counts else sum(counts) for counts in zip(*costs))
        uncounted.update(node.op for node, cost in zip(group, costs) if None in cost)
        kind, shape = nodes[name].op, shapes.get(group[-1].name)
        scope = re.sub(rf'/{re.escape(kind)}(_\d+)?$', '', name)
        params = sum(_params(nodes, node, shapes) for node in group)
        output_shape = tuple(shape[1:]) if shape else None
        layers.append(net.Layer(scope, kind, output_shape, params, ops, macs))
    return layers, sorted(uncounted)


def totals(layers: List[net.Layer]) -> Dict[str, int]:
    """Return the sums of the known {'params', 'ops', 'macs'} of `layers`."""
    return {count: sum(getattr(layer, count) or 0 for layer in layers)
            for count in ('params', 'ops', 'macs')}


def _node_name(tensor: str) -> str:
    return tensor.lstrip('^').split(':')[0]


def _head(nodes: Nodes, node: tf.NodeDef) -> tf.NodeDef:
    """Return the convolution or product that `node` completes, or the Const it reads, or `node`."""
    head = node
    for _ in nodes:  # ends even if a hostile graph has a cycle
        if head.op not in COMPLETING_OPS or not head.input:
            break
        head = nodes.get(_node_name(head.input[0]), node)
    return head if head.op in MATMUL_OPS + ('Const',) else node


def _params(nodes: Nodes, node: tf.NodeDef, shapes: Shapes) -> int:
    """Return how many numbers there are in the float constants that `node` uses."""
    inputs = [nodes[name] for name in map(_node_name, node.input) if name in nodes]
    constants = [_head(nodes, source) for source in inputs]
    return sum(net.product(shapes[constant.name]) for constant in constants
               if constant.op == 'Const'
               and constant.attr['dtype'].type == tf.float32.as_datatype_enum)


def _shapes(graph: tf.GraphDef) -> Shapes:
    shapes = {node.name: [dim.size for dim in node.attr['value'].tensor.tensor_shape.dim]
              for node in graph.node if node.op == 'Const'}
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
    weights = shapes.get(_node_name(node.input[1])) if len(node.input) > 1 else None
    if size is None or weights is None or node.op not in MATMUL_OPS:
        return None, None
    if node.op == 'MatMul':
        macs = net.product(weights)
    else:
        macs = size * net.product(weights[:3 if node.op == 'Conv2D' else 2])
    return 2 * macs, macs

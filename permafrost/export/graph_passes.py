"""Graph passes: each turns the GraphDef of an inference graph into a smaller, equivalent one."""

import collections
from typing import Dict, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.inference_graph import InferenceGraph

# The GraphDef version that TF 1.15 writes. Nothing in a frozen graph needs a newer one, so an
# older TensorFlow than the one that froze the graph may load it.
GRAPH_DEF_VERSION = 134

Nodes = Dict[str, tf.NodeDef]  # by name


def remove_identities(graph: tf.GraphDef) -> tf.GraphDef:
    """Remove Identity nodes. The input of one that has an interface name is renamed to it."""
    names = {node.name for node in graph.node}
    inputs = {node.name: node.input[0] for node in graph.node if node.op == 'Identity'}

    def source(name: str) -> str:
        while name in inputs:
            name = inputs[name]
        return name

    interface = InferenceGraph._fields
    renamed: Dict[str, str] = {}
    for name in interface:
        origin = source(name)
        if name in inputs and origin in names and origin not in (*interface, *renamed):
            renamed[origin] = name
        else:
            inputs.pop(name, None)  # its input has another interface name: keep the Identity
    result = tf.GraphDef(versions=graph.versions)
    for node in graph.node:
        if node.name not in inputs:
            copy = result.node.add()
            copy.CopyFrom(node)
            copy.name = renamed.get(node.name, node.name)
            copy.input[:] = [renamed.get(source(name), source(name)) for name in node.input]
    return result


def fold_batch_norm(graph: tf.GraphDef) -> tf.GraphDef:
    """Fold batch normalization into the weights of the layer before it, leaving a BiasAdd.

    A max pool may lie between if no scale is negative (untrained scales never are): the maximum,
    scaled, is the maximum of the scaled values. Without a layer whose weights and output nothing
    else uses, a multiplication and a BiasAdd replace the normalization.
    """
    nodes = {node.name: node for node in graph.node}
    uses = collections.Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        if node.op.startswith('FusedBatchNorm'):
            _fold_node(nodes, uses, node)
    folded = tf.GraphDef(versions=graph.versions, node=nodes.values())
    return graph_def.extract_subgraph(folded, ['probabilities'])


def _fold_node(nodes: Nodes, uses: Dict[str, int], norm: tf.NodeDef) -> None:
    """Replace the batch normalization `norm` in `nodes` with a BiasAdd of the same name."""
    gamma, beta, mean, variance = (_value(nodes[name]) for name in norm.input[1:])
    scale = gamma / np.sqrt(variance + norm.attr['epsilon'].f)
    shift = beta - mean * scale
    x = norm.input[0]
    adjacent = nodes[x].op not in ('MaxPool', 'Reshape')
    layer, bias = _layer_before(nodes, uses, x, scale)
    if layer is None:
        nodes[norm.name + '/scale'] = graph_def.const(
            norm.name + '/scale', scale.astype(np.float32))
        nodes[norm.name + '/Mul'] = _binary('Mul', norm.name + '/Mul', x, norm.name + '/scale')
        x = norm.name + '/Mul'
    else:
        weights, by_channel = nodes[layer.input[1]], scale
        if layer.op == 'DepthwiseConv2dNative':  # weights [h, w, channels, multiplier]
            by_channel = scale.reshape(_value(weights).shape[2:])
        _multiply(nodes, weights, by_channel)
        if adjacent:
            x = layer.name
            shift = shift + (_value(bias) * scale if bias else 0.)
        elif bias:
            _multiply(nodes, bias, scale)
    nodes[norm.name + '/shift'] = graph_def.const(norm.name + '/shift', shift.astype(np.float32))
    nodes[norm.name] = _binary('BiasAdd', norm.name, x, norm.name + '/shift')


def _layer_before(nodes: Nodes, uses: Dict[str, int], x: str, scale: np.ndarray
                  ) -> Tuple[Optional[tf.NodeDef], Optional[tf.NodeDef]]:
    """Return the layer that computes the node `x` and can absorb `scale`, and its bias, a Const."""
    node, bias = nodes[x], None
    while uses[node.name] == 1 and (
            node.op == 'MaxPool' and (scale >= 0).all() or
            node.op == 'Reshape' and nodes[node.input[0]].op == 'MatMul'):
        node = nodes[node.input[0]]
    if node.op == 'BiasAdd' and uses[node.name] == uses[node.input[1]] == 1:
        node, bias = (nodes[name] for name in node.input)
    if node.op in graph_def.MATMUL_OPS and uses[node.name] == uses[node.input[1]] == 1:
        return node, bias
    return None, None


def rename_additions(graph: tf.GraphDef) -> tf.GraphDef:
    """Rename Add, what TensorFlow 1.15 makes of `x + y`, to AddV2, as newer versions do."""
    result = tf.GraphDef()
    result.CopyFrom(graph)
    for node in result.node:
        node.op = {'Add': 'AddV2'}.get(node.op, node.op)
    return result


def strip_default_attrs(graph: tf.GraphDef) -> tf.GraphDef:
    """Remove default and internal attributes, functions and debug information.

    An older TensorFlow may not know them, and none needs them.
    """
    with tf.Graph().as_default() as imported:
        graph_def.import_graph(graph)
    result = tf.GraphDef()
    result.versions.producer = min(GRAPH_DEF_VERSION, graph.versions.producer)
    for node in graph.node:
        stripped = result.node.add(name=node.name, op=node.op, input=node.input)
        defaults = {attribute.name: attribute.default_value for attribute
                    in imported.get_operation_by_name(node.name).op_def.attr
                    if attribute.HasField('default_value')}
        for name, value in node.attr.items():
            if not name.startswith('_') and value != defaults.get(name):
                stripped.attr[name].CopyFrom(value)
    return result


def convolve_in_bfloat16(graph: tf.GraphDef) -> tf.GraphDef:
    """Cast what convolutions and matrix products multiply to bfloat16, and the results back.

    The preprocessing stays in float32: bfloat16 has too few digits for pixels.
    """
    result = tf.GraphDef(versions=graph.versions)
    kept = {node.name for node in graph_def.preprocessing(graph).node}
    for node in graph.node:
        copy = result.node.add()
        copy.CopyFrom(node)
        if node.op not in ('Conv2D', 'MatMul') or node.name in kept:
            continue
        copy.name = f'{node.name}/bfloat16'
        copy.attr['T'].type = tf.bfloat16.as_datatype_enum
        for index, name in enumerate(node.input[:2]):
            copy.input[index] = f'{node.name}/input{index}'
            result.node.append(_cast(copy.input[index], name, tf.float32, tf.bfloat16))
        result.node.append(_cast(node.name, copy.name, tf.bfloat16, tf.float32))
    return result


PASSES = (  # in this order
    remove_identities, fold_batch_norm, rename_additions, strip_default_attrs)


def _binary(op: str, name: str, x: str, y: str) -> tf.NodeDef:
    node = tf.NodeDef(name=name, op=op, input=[x, y])
    node.attr['T'].type = tf.float32.as_datatype_enum
    return node


def _cast(name: str, x: str, of: tf.DType, to: tf.DType) -> tf.NodeDef:
    node = tf.NodeDef(name=name, op='Cast', input=[x])
    node.attr['SrcT'].type, node.attr['DstT'].type = of.as_datatype_enum, to.as_datatype_enum
    return node


def _value(const: tf.NodeDef) -> np.ndarray:
    return graph_def.value_of(const).astype(np.float64)


def _multiply(nodes: Nodes, const: tf.NodeDef, by: np.ndarray) -> None:
    nodes[const.name] = graph_def.const(const.name, (_value(const) * by).astype(np.float32))

"""Quantization-aware training in frozen graphs: rounded weights, the ranges of activations.

A range is a constant [smallest, largest] that no node uses, '<node>/activation_range'. So any
program runs the graph, in floats; `insert_ranges` makes of them what converters to int8 read.
"""

import os
from typing import Dict

import numpy as np
import tensorflow.compat.v1 as tf

from models.layers.fake_quant import BITS, RANGES
from permafrost.errors import UserError, printable
from permafrost.evaluation.frozen_graphs import graph_def

SUFFIX = '/activation_range'
# Of activations that a graph makes of several operations: no range is known between them.
COMPOSED = ('Elu', 'Erf', 'Sigmoid')


def round_weights(graph: tf.GraphDef, session: tf.Session) -> tf.GraphDef:
    """Return `graph`, the constants of `session`, with the weights of each layer rounded.

    They keep the names of their variables, and layers read them directly, as the other passes
    expect. A channel may be scaled afterwards: its grid is scaled with it.
    """
    if not session.graph.get_collection(RANGES):
        return graph
    values = session.run({op.name: op.inputs[1] for op in session.graph.get_operations()
                          if op.type in graph_def.MATMUL_OPS})
    result = tf.GraphDef()
    result.CopyFrom(graph)
    nodes = {node.name: node for node in result.node}
    for layer, value in values.items():
        weights = os.path.join(os.path.dirname(layer), 'weights')
        if weights in nodes:  # not those of the preprocessing
            nodes[weights].CopyFrom(graph_def.const(weights, value))
            nodes[layer].input[1] = weights
    return graph_def.extract_subgraph(result, ['probabilities'])


def record_ranges(graph: tf.GraphDef, session: tf.Session) -> None:
    """Add the ranges of `session` to `graph`, which passes have made of its graph."""
    ranges = session.graph.get_collection(RANGES)
    names = {node.name for node in graph.node}
    interface = {_source(session.graph.get_tensor_by_name(name + ':0')): name
                 for name in ('inputs', 'predictions')}
    for (x, _, _), (smallest, largest) in zip(ranges, session.run([each[1:] for each in ranges])):
        candidates = (x.op.name, _source(x), interface.get(_source(x)))
        name = next(each for each in candidates if each in names)
        graph.node.append(graph_def.const(name + SUFFIX, [smallest, largest], tf.float32))


def _source(x: tf.Tensor) -> str:
    """Return the name of the node that computes `x`, without the Identity nodes after it."""
    while x.op.type == 'Identity':
        x = x.op.inputs[0]
    return x.op.name


def ranges(graph: tf.GraphDef) -> Dict[str, np.ndarray]:
    """Return {node: [smallest, largest] value} of the activations of `graph`; {} if it has none.

    Raises UserError if one is damaged.
    """
    names = {node.name for node in graph.node}
    found = {}
    for node in graph.node:
        if not node.name.endswith(SUFFIX):
            continue
        try:
            value = graph_def.value_of(node)
            smallest, largest = value.tolist()
            is_range = value.dtype == np.float32 and -np.inf < smallest <= 0 <= largest < np.inf
        except (TypeError, ValueError):
            is_range = False
        name = node.name[:-len(SUFFIX)]
        if not is_range or name not in names:
            raise UserError(f"'{printable(node.name)}' is not a range of activations: freeze the "
                            'run again')
        found[name] = value
    return found


def sufficient_ranges(graph: tf.GraphDef) -> Dict[str, np.ndarray]:
    """Return `ranges`, or {} where calibration must give them all, though weights are rounded.

    A converter needs those inside activations of several steps, too. A normalization that was
    folded through a max pool has scaled what the pool takes, not the range of it.
    """
    pools = {node.name for node in graph.node if node.op == 'MaxPool'}
    is_folded = any(node.op == 'BiasAdd' and node.input[0] in pools for node in graph.node)
    has_steps = any(node.op in COMPOSED for node in graph.node)
    return {} if is_folded or has_steps else ranges(graph)


def insert_ranges(graph: tf.GraphDef, known: Dict[str, np.ndarray]) -> tf.GraphDef:
    """Return `graph` with a FakeQuantWithMinMaxVars behind each node of which the range is `known`.

    TensorFlow Lite's converter takes its int8 grids from them, without calibration. `predictions`
    is rounded itself.
    """
    result = tf.GraphDef(versions=graph.versions)
    for node in graph.node:
        if not node.name.endswith(SUFFIX):
            copy = result.node.add()
            copy.CopyFrom(node)
            copy.input[:] = [name + '/rounded' if name in known else name for name in node.input]
            if node.name == 'predictions' and node.name in known:
                copy.name = 'predictions/float'
    for name, limits in known.items():
        rounded = result.node.add(name=name + '/rounded', op='FakeQuantWithMinMaxVars')
        rounded.attr['num_bits'].i = BITS
        rounded.input.append(name)
        for end, value in zip(('min', 'max'), limits):
            rounded.input.append(f'{name}/rounded/{end}')
            result.node.append(graph_def.const(rounded.input[-1], value, tf.float32))
        if name == 'predictions':
            rounded.input[0] = 'predictions/float'
            result.node.add(name=name, op='Identity', input=[rounded.name]).attr['T'].type = (
                tf.float32.as_datatype_enum)
    return result

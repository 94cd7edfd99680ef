"""Channel removal: a frozen graph without the channels that structured pruning has set to zero."""

from typing import Dict, Set

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.training.compression.channels import Channels, Use

OUTPUT = 'predictions'


def remove_zero_channels(graph: tf.GraphDef) -> tf.GraphDef:
    """Return `graph`, which freezing made, without the channels that are zero for every image.

    Filters, what follows them (biases, scales, depthwise filters) and the weights that read their
    channels are sliced, through concatenations and sums. Each layer keeps one filter at least.
    """
    result = tf.GraphDef()
    result.CopyFrom(graph)
    constants = {node.name: node for node in result.node if node.op == 'Const'}
    values = {name: graph_def.value_of(node) for name, node in constants.items()}
    with tf.Graph().as_default() as imported:
        graph_def.import_graph(graph)
        channels = Channels(imported, OUTPUT, values.__getitem__)
    removed = _keep_one(channels, channels.removable())
    for use in channels.uses:
        values[use.parameter] = np.compress(
            _kept(channels, use, removed), values[use.parameter], use.axis)
    for use in channels.pads:
        paddings = values[use.parameter].copy()
        before, after = paddings[-1]
        kept = _kept(channels, use, removed)
        paddings[-1] = kept[:before].sum(), kept[len(kept) - after:].sum()
        values[use.parameter] = paddings
    for use in channels.reshapes:
        shape = values[use.parameter].copy()
        if shape[-1] != -1:
            shape[-1] = _kept(channels, use, removed).sum()
        values[use.parameter] = shape
    for use in (*channels.uses, *channels.pads, *channels.reshapes):
        constants[use.parameter].CopyFrom(graph_def.const(use.parameter, values[use.parameter]))
    return result


def _keep_one(channels: Channels, removed: Set[int]) -> Set[int]:
    """Return `removed` without the first channel of each layer that would have none left."""
    kept: Dict[str, int] = {}
    for use in channels.uses:
        roots = channels.root(use.ids)
        if use.makes and set(roots) <= removed:
            kept[use.parameter] = roots[0]
    return removed - set(kept.values())


def _kept(channels: Channels, use: Use, removed: Set[int]) -> np.ndarray:
    return np.array([each not in removed for each in channels.root(use.ids)], bool)

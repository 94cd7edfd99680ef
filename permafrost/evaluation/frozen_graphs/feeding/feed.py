"""Values for the other placeholders of a frozen graph: --feed NAME=VALUE makes constants of them.

label_image/feed.cc has the same rules.
"""

from typing import Sequence, Set

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError, UserError
from permafrost.evaluation.frozen_graphs.nodes import is_one_value, output_shape, output_type


def feed_constants(definition: tf.GraphDef, path: str, feeds: Sequence[str]) -> tf.GraphDef:
    """Return a copy of the graph with a Const for each placeholder that `feeds`, NAME=VALUE, names.

    Raises UserError if there is no such placeholder, UsageError if the value does not fit.
    """
    changed = tf.GraphDef()
    changed.CopyFrom(definition)
    nodes = {node.name: node for node in changed.node}
    fed: Set[str] = set()
    for feed in feeds:
        name, equals, text = feed.partition('=')
        name = name[:-2] if name.endswith(':0') else name
        node = nodes.get(name)
        if not equals:
            raise UsageError(f"--feed must be NAME=VALUE, such as keep_prob=1, not '{feed}'")
        if name in fed:
            raise UsageError(f"--feed gives '{name}' twice")
        fed.add(name)
        if node is None or not node.op.startswith('Placeholder'):
            raise UserError(f"{path} has no placeholder '{name}' for --feed")
        dtype = output_type(node)
        shape = output_shape(node) or []
        if not is_one_value(node):
            raise UserError(f'--feed={feed}: only a placeholder of one number or bool can be fed '
                            'with a value')
        dtype = tf.as_dtype(dtype)
        try:
            number = {'true': 1., 'false': 0.}.get(text)
            number = float(text) if number is None else number
            value = np.full(shape, number, dtype.as_numpy_dtype)
            if value.astype(float).ravel()[0] != number and dtype in (tf.bool, tf.int32):
                raise ValueError
        except (ValueError, OverflowError):
            kind = {'bool': 'true or false', 'int32': 'an integer'}.get(dtype.name, 'a number')
            raise UsageError(f'--feed={feed}: the value must be {kind}')
        node.op = 'Const'
        node.ClearField('input')
        node.ClearField('attr')
        node.attr['dtype'].type = dtype.as_datatype_enum
        node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
    return changed

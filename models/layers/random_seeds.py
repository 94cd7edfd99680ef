"""Random streams keyed by (seed, name, step): the numbers of any step can be drawn again."""

import zlib
from typing import Union

import tensorflow.compat.v1 as tf


def seeds(seed: int, name: str, step: Union[int, tf.Tensor] = 0) -> tf.Tensor:
    """Return the two seeds, int64 [2], of a stateless random op.

    The name, not the order in which ops are created, tells streams apart: an unrelated op changes
    nothing. `step` may be a scalar tensor.
    """
    return tf.stack([tf.constant(zlib.crc32(f'{seed}/{name}'.encode()), tf.int64),
                     tf.cast(step, tf.int64)])

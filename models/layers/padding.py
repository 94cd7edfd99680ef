"""Padding of maps for convolutions that compute only what the pool after them reads."""

from typing import Tuple

import tensorflow.compat.v1 as tf


def pad_for_multiple(x: tf.Tensor, size: int, multiple_of: int) -> Tuple[tf.Tensor, str]:
    """Return maps, and the padding of a convolution of them with filters of `size` x `size`.

    The convolution, whose stride is 1, returns the first rows and columns of one with padding
    SAME: as many as the largest multiple. [N, H, W, C] -> [N, H'', W'', C].
    """
    sides = x.shape.as_list()[1:3]
    if not any(side % multiple_of for side in sides):
        return x, 'SAME'
    # tf.pad, as oneDNN has no kernel for EXPLICIT padding in bfloat16: it is 15 times slower.
    before = (size - 1) // 2
    after = [side // multiple_of * multiple_of + size - 1 - before - side for side in sides]
    height, width = (side + min(end, 0) for side, end in zip(sides, after))
    x = x[:, :height, :width] if min(after) < 0 else x
    return tf.pad(x, [[0, 0], *([before, max(end, 0)] for end in after), [0, 0]]), 'VALID'

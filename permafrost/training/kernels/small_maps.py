"""Gradients of the weights of convolutions of small maps, in bfloat16 on a CPU.

oneDNN sums products along the rows of a map, and is slow if they are short: with AMX it sums 32 at
a time, so maps of 7x7 pixels use a quarter of a tile. Here several maps are laid out side by side,
with columns of zeros between them, and their products are summed as those of one wide map. It is
the same sum in another order.
"""

from typing import Optional

import tensorflow.compat.v1 as tf

TILE = 32  # products along a row that AMX sums at a time
# Wider maps, in pixels, and those of fewer channels were slower side by side.
MAX_SIDE, MIN_CHANNELS = 8, 128
MAX_WIDTH = 96  # pixels, of the maps side by side


def of_weights(x: tf.Tensor, weights: tf.Tensor, grad: tf.Tensor, padding: str) -> tf.Tensor:
    """Return the gradient of `weights` [k, k, C, F], of their type.

    `x` is the maps [N, H, W, C], and `grad` the gradient of the output [N, H', W', F] of their
    convolution with stride 1 and `padding`, SAME or VALID.
    """
    size = weights.shape.as_list()[0]
    gap = size - 1 if padding == 'VALID' else size // 2
    count = maps_in_a_row(x.shape.as_list()[0], grad.shape.as_list()[2], gap)
    if count > 1 and min(weights.shape.as_list()[2:]) >= MIN_CHANNELS:
        # Without padding, the columns that two maps share in a window are where the gradient is 0.
        x = side_by_side(x, count, 0 if padding == 'VALID' else gap)
        grad = side_by_side(grad, count, gap)
        if padding == 'VALID':
            grad = grad[:, :, :-gap]
    return tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=tf.constant(weights.shape.as_list()), out_backprop=grad,
        strides=[1, 1, 1, 1], padding=padding)


def maps_in_a_row(batch_size: Optional[int], width: int, gap: int) -> int:
    """Return how many maps of `width` pixels fill tiles best: 1 if they are wide, or gaps are 0."""
    if not batch_size or not gap or width > MAX_SIDE:
        return 1
    counts = [count for count in range(1, MAX_WIDTH // (width + gap) + 1)
              if batch_size % count == 0]
    return min(counts, key=lambda count: -(-count * (width + gap) // TILE) * TILE / count)


def side_by_side(x: tf.Tensor, count: int, gap: int) -> tf.Tensor:
    """Return maps in rows of `count`, each followed by `gap` columns of zeros.

    [N, H, W, C] -> [N / count, H, count * (W + gap), C].
    """
    batch_size, height, _, channels = x.shape.as_list()
    parts = tf.split(x, count)
    if gap:
        zeros = tf.zeros([batch_size // count, height, gap, channels], x.dtype)
        parts = [each for part in parts for each in (part, zeros)]
    return tf.concat(parts, 2)

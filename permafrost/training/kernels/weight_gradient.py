"""The gradient of the weights of a convolution by weight_gradient_op.cc.

On processors with AVX512_BF16, TensorFlow 2.21 reaches a quarter to nine tenths of its speed.
"""

import tensorflow.compat.v1 as tf

from permafrost.training.kernels import library

# With fewer channels or filters, and for 1x1, TensorFlow's kernel was faster.
MIN_CHANNELS, MIN_FILTERS = 16, 32


def is_faster(weights: tf.Tensor) -> bool:
    """Return whether this kernel is available and faster than others for `weights`."""
    size, _, channels, filters = weights.shape.as_list()
    return (weights.dtype == tf.bfloat16 and size > 1 and channels >= MIN_CHANNELS
            and filters >= MIN_FILTERS and library.load() is not None)


def of_weights(x: tf.Tensor, weights: tf.Tensor, grad: tf.Tensor, padding: str) -> tf.Tensor:
    """Return the gradient of `weights` [k, k, C, F], float32.

    `x` is the maps [N, H, W, C], and `grad` the gradient of the output [N, H', W', F] of their
    convolution with stride 1 and `padding`, SAME or VALID.
    """
    size = weights.shape.as_list()[0]
    return library.load().conv2d_weight_gradient(
        x, grad, size=size, pad=(size - 1) // 2 if padding == 'SAME' else 0)

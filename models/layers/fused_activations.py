"""Activations of training, each in one pass over memory, compiled by XLA.

The same in TensorFlow's operations takes four passes forward and five backward. TensorFlow 1.15
does not compile functions: there, and on a GPU, they are the operations.
"""

import functools
from typing import Any, Callable

import tensorflow.compat.v1 as tf

from models.layers import activations


def sigmoid_gelu(x: tf.Tensor, dtype: str) -> tf.Tensor:
    """Return activations.sigmoid_gelu(x) in `dtype`; `x` is float32 or bfloat16."""
    if tf.__version__.startswith('1.'):
        return activations.sigmoid_gelu(x)

    @tf.custom_gradient
    def activate(x):
        gradient = functools.partial(_compiled(_gradient), x)
        return _compiled(_sigmoid_gelu)(x, dtype=dtype), gradient

    return activate(x)


def relu_of_sum(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Return the ReLU of x + y, of bfloat16 tensors of one shape, which is known but for N."""
    @tf.custom_gradient
    def activate(x, y):
        z = _flat(_relu_of_sum, x, y)

        def gradient(upstream):
            both = _flat(_relu_gradient, upstream, z)
            return both, both

        return z, gradient

    return activate(x, y)


def _flat(function, x, y):
    """Return `function` of vectors of all elements: XLA is slower with few channels."""
    result = _compiled(function)(tf.reshape(x, [-1]), tf.reshape(y, [-1]))
    return tf.reshape(result, [-1, *x.shape.as_list()[1:]])


def _relu_of_sum(x, y):
    return tf.cast(tf.nn.relu(tf.cast(x, tf.float32) + tf.cast(y, tf.float32)), x.dtype)


def _relu_gradient(upstream, z):
    wide = tf.cast(upstream, tf.float32)  # bfloat16 would not be vectorized
    return tf.cast(tf.where(tf.cast(z, tf.float32) > 0, wide, tf.zeros_like(wide)), z.dtype)


def _sigmoid_gelu(x, dtype):
    x = tf.cast(x, tf.float32)
    return tf.cast(x * _share(x), dtype)


def _gradient(x, upstream):
    z = tf.cast(x, tf.float32)
    share = _share(z)
    slope = share * (1. + 1.702 * z * (1. - share))
    return tf.cast(tf.cast(upstream, tf.float32) * slope, x.dtype)


def _share(x):
    return 0.5 + 0.5 * tf.tanh(0.851 * x)  # sigmoid(1.702 * x): XLA is slower with the sigmoid


@functools.lru_cache(None)
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    if tf.config.experimental.list_physical_devices('GPU'):
        return function  # XLA would need CUDA's compiler there
    return tf.function(function, jit_compile=True, autograph=False)

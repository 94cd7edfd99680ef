"""Activations of training, each in one pass over memory, compiled by XLA.

The same in TensorFlow's operations takes four passes forward and five backward. TensorFlow 1.15
does not compile functions: there they are the operations.
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
    return tf.function(function, jit_compile=True, autograph=False)

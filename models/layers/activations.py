"""Activations by name: `relu`, or with a parameter, `celu:0.3`.

They consist of operations that TensorFlow 1.15 has, so that any engine can run a frozen graph.
"""

import functools
from typing import Callable, Dict, Tuple

import tensorflow.compat.v1 as tf

# A function and its operations per element: 2 for Relu, Elu and Sigmoid, 1 for a sum or product.
Activation = Tuple[Callable[..., tf.Tensor], int]


def celu(x: tf.Tensor, alpha: float = 1.) -> tf.Tensor:
    """Return max(0, x) + min(0, alpha * (exp(x / alpha) - 1)) (https://arxiv.org/abs/1704.07483)."""
    return tf.nn.elu(x * (1 / alpha)) * alpha


def sigmoid_gelu(x: tf.Tensor) -> tf.Tensor:
    """Return x * sigmoid(1.702 * x), an approximation of GELU (https://arxiv.org/abs/1606.08415)."""
    return x * tf.sigmoid(x * 1.702)


def trained_sigmoid_gelu(x: tf.Tensor) -> tf.Tensor:
    """Return sigmoid_gelu(x), whose gradient XLA computes in one pass over memory, not in five."""
    if tf.__version__.startswith('1.'):
        return sigmoid_gelu(x)
    gradient = tf.function(_sigmoid_gelu_gradient, jit_compile=True, autograph=False)

    @tf.custom_gradient
    def activate(x):
        return sigmoid_gelu(x), lambda upstream: gradient(x, upstream)

    return activate(x)


def _sigmoid_gelu_gradient(x, upstream):
    share = tf.sigmoid(x * 1.702)
    return upstream * share * (1. + 1.702 * x * (1. - share))


ACTIVATIONS: Dict[str, Activation] = {
    'linear': (lambda x: x, 0), 'relu': (tf.nn.relu, 2), 'celu': (celu, 4),
    'sigmoid_gelu': (sigmoid_gelu, 4)}
TRAINED: Dict[str, Callable[..., tf.Tensor]] = {'sigmoid_gelu': trained_sigmoid_gelu}


def get_activation(text: str, training: bool = False) -> Activation:
    """Return the activation named by `text`, 'name' or 'name:number'. Raises ValueError.

    In `training`, it may have operations that a frozen graph must not have.
    """
    name, _, number = text.partition(':')
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {text!r} (choose from: "
                         f"{', '.join(sorted(ACTIVATIONS))})")
    function, ops = ACTIVATIONS[name]
    function = TRAINED.get(name, function) if training else function
    return (functools.partial(function, alpha=float(number)) if number else function), ops

"""Activations by name: `relu`, `gelu`, or with a number, `celu:0.3`.

They are made of operations that TensorFlow 1.15 has and that a frozen graph may hold. Each is
counted by what it is made of: 2 an element for Relu, Elu, Erf and Sigmoid, 1 for a sum or product.
"""

import math

import tensorflow.compat.v1 as tf


def celu(x, alpha=1.):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1)) (https://arxiv.org/abs/1704.07483)."""
    return tf.nn.elu(x * (1 / alpha)) * alpha


def gelu(x):
    """x * P(a unit normal is below x) (https://arxiv.org/abs/1606.08415)."""
    return x * (tf.math.erf(x * math.sqrt(0.5)) * 0.5 + 0.5)


def sigmoid_gelu(x):
    """x * sigmoid(1.702 * x), the same paper's cheaper approximation of gelu."""
    return x * tf.sigmoid(x * 1.702)


def silu(x):
    """x * sigmoid(x), of the same paper; not tf.nn.swish, which leaves a function in graphs."""
    return x * tf.sigmoid(x)


# {name: (function, operations an element)}
ACTIVATIONS = {
    'linear': (lambda x: x, 0),
    'relu': (tf.nn.relu, 2),
    'celu': (celu, 4),
    'gelu': (gelu, 6),
    'sigmoid_gelu': (sigmoid_gelu, 4),
    'silu': (silu, 3),
}


def apply(text, x):
    """`x` activated as `text` says, and the operations an element. ValueError: unknown text."""
    name, _, number = text.partition(':')
    if name not in ACTIVATIONS:
        raise ValueError('unknown activation %r (there are: %s)' % (
            text, ', '.join(sorted(ACTIVATIONS))))
    function, ops = ACTIVATIONS[name]
    return function(x, *([float(number)] if number else [])), ops

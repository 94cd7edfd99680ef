"""Activations by name: `relu`, or with a parameter, `celu:0.3`.

They consist of operations that TensorFlow 1.15 has, so that any engine can run a frozen graph.
"""

from functools import partial
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


ACTIVATIONS: Dict[str, Activation] = {
    'linear': (lambda x: x, 0), 'relu': (tf.nn.relu, 2), 'celu': (celu, 4),
    'sigmoid_gelu': (sigmoid_gelu, 4)}


def get_activation(text: str) -> Activation:
    """Return the activation named by `text`, 'name' or 'name:number'. Raises ValueError."""
    name, _, number = text.partition(':')
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {text!r} (choose from: "
                         f"{', '.join(sorted(ACTIVATIONS))})")
    function, ops = ACTIVATIONS[name]
    return (partial(function, alpha=float(number)) if number else function), ops

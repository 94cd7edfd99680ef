"""The activation sigmoid_gelu by sigmoid_gelu_op.cc, from bfloat16 or float32 to bfloat16."""

import tensorflow.compat.v1 as tf

from models.layers import fused_activations
from permafrost.training.kernels import library


def sigmoid_gelu(x: tf.Tensor, dtype: str) -> tf.Tensor:
    """Return activations.sigmoid_gelu(x) in `dtype`, by the C++ kernel if it can compute it."""
    kernels = library.load() if dtype == 'bfloat16' else None
    return kernels.sigmoid_gelu(x) if kernels else fused_activations.sigmoid_gelu(x, dtype)


@tf.RegisterGradient('SigmoidGelu')
def _gradient(op: tf.Operation, grad: tf.Tensor) -> tf.Tensor:
    return library.load().sigmoid_gelu_grad(grad, op.inputs[0])

"""The gradients of convolutions in bfloat16 on a CPU, one after the other.

Each gradient uses all cores. Side by side, as TensorFlow runs them, they have less cache. The
gradient of the weights comes from the faster of two kernels: weight_gradient or small_maps.
"""

from typing import Tuple

import tensorflow.compat.v1 as tf

from permafrost.training.kernels import small_maps, weight_gradient

NAME = 'Conv2DOneGradientAtATime'  # for tf.Graph.gradient_override_map


@tf.RegisterGradient(NAME)
def _conv2d_gradient(op: tf.Operation, grad: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor]:
    """Return the gradients of the maps and of the weights of a Conv2D of stride 1."""
    x, weights = op.inputs
    padding = op.get_attr('padding').decode()
    of_maps = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(x), filter=weights, out_backprop=grad, strides=[1, 1, 1, 1],
        padding=padding)
    with tf.control_dependencies([of_maps]):
        grad = tf.identity(grad)
    kernel = weight_gradient if weight_gradient.is_faster(weights) else small_maps
    return of_maps, kernel.of_weights(x, weights, grad, padding)

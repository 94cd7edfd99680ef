"""Fake quantization: training rounds to 8-bit integers, so that the weights tolerate rounding.

Jacob et al. 2017 (https://arxiv.org/abs/1712.05877). Weights have a range for each output channel,
symmetric around 0. Freezing folds the scales of batch normalization into them: the step of a
channel's grid changes, its integers stay. Activations have one range, the moving average of the
batches' minima and maxima. Inference rounds only the weights: it computes in floats, as the frozen
graph does, and collects the ranges for the converters to int8.
"""

import dataclasses
from typing import Dict, Optional

import tensorflow.compat.v1 as tf

BITS = 8
RANGES = 'activation_ranges'  # collection of inference: (tensor, smallest, largest value)
AVERAGED_BATCHES = 100  # the moving averages of the ranges forget older ones


@dataclasses.dataclass(eq=False)
class FakeQuant:
    """Rounds the weights and activations of one Net."""
    training: bool
    step: Optional[tf.Tensor] = None  # the global step, in training
    first_step: float = 0.  # before it, training only measures ranges
    # By the name of a tensor: the rounded tensor that replaces it, or itself if it is rounded.
    _rounded: Dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    _producers: Dict[str, str] = dataclasses.field(default_factory=dict)  # layers, by tensor

    def weights(self, weights: tf.Tensor) -> tf.Tensor:
        """Return weights [..., channels] on the grids of their channels: integers -127 to 127."""
        def rounded():
            channels = weights.shape.as_list()[-1]
            largest = tf.reduce_max(tf.abs(tf.reshape(weights, [-1, channels])), 0)
            y = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                weights, -largest, largest, BITS, narrow_range=True)
            # The gradient of the operation leaves out some of the largest weights.
            return weights + tf.stop_gradient(y - weights) if self.training else y

        return self._after_first_step(rounded, weights)

    def depthwise_weights(self, weights: tf.Tensor) -> tf.Tensor:
        """Return weights [h, w, channels, 1] on the grids of their channels."""
        shape = weights.shape.as_list()
        return tf.reshape(self.weights(tf.reshape(weights, shape[:2] + [-1])), shape)

    def note_layer(self, x: tf.Tensor, layer: str) -> None:
        """Note that `layer` computes `x`: the variables of its range get that scope."""
        self._producers.setdefault(x.name, layer)

    def activations(self, x: tf.Tensor) -> tf.Tensor:
        """Return `x` on a grid of 256 values, 0 among them. The same `x` is rounded once."""
        if x.name not in self._rounded:
            with tf.variable_scope(self._producers.get(x.name, 'inputs')):
                y = self._round(x, *self._range(x))
            self._rounded[x.name] = self._rounded[y.name] = y
        return self._rounded[x.name]

    def same_range(self, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Return `y`, which in inference has only values of `x` and zeros: it is on its grid."""
        if x.name in self._rounded:
            self._rounded[y.name] = y
        return y

    def _range(self, x):
        """Return the smallest and the largest value of `x`, 0 included; in training, updated."""
        ends = []
        for name, reduce, limit in (('activation_min', tf.reduce_min, tf.minimum),
                                    ('activation_max', tf.reduce_max, tf.maximum)):
            end = tf.get_variable(name, [], initializer=tf.zeros_initializer(), trainable=False)
            if self.training:
                share = 1 / tf.minimum(tf.cast(self.step, tf.float32) + 1, AVERAGED_BATCHES)
                old = end.read_value()
                new = old + share * (limit(reduce(tf.stop_gradient(x)), 0.) - old)
                tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, end.assign(new))
                end = new  # not the variable, whose value depends on when it is read
            ends.append(end)
        return ends

    def _round(self, x, smallest, largest):
        if not self.training:
            tf.add_to_collection(RANGES, (x, smallest, largest))
            return x
        return self._after_first_step(lambda: tf.quantization.fake_quant_with_min_max_vars(
            x, smallest, largest, BITS), x)

    def _after_first_step(self, rounded, otherwise):
        if not self.training or self.first_step <= 0:
            return rounded()
        is_due = tf.cast(self.step, tf.float64) >= self.first_step
        return tf.cond(is_due, rounded, lambda: tf.identity(otherwise))

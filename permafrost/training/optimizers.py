"""Optimizers by name: tf.train's updates, with a rate and a decay of its own for each variable.

They keep nothing but slots, so a checkpoint and the global step are all that they resume from.
"""

import tensorflow.compat.v1 as tf

from permafrost.errors import unknown_name_error


class Sgd(tf.train.Optimizer):
    """w -= rate * (gradient + decay * w): plain gradient descent, and the base of the others."""

    def __init__(self, rate, decay, momentum, step):
        """
        Args:
          rate: function of a variable -> scalar float32 tensor, its learning rate.
          decay: function of a variable -> number, its decoupled weight decay.
          momentum: number in [0, 1).
          step: the global step.
        """
        super().__init__(use_locking=False, name=type(self).__name__)
        self._rate, self._decay, self._momentum, self._global = rate, decay, momentum, step

    def _resource_apply_dense(self, grad, var):
        rate, decay = self._rate(var), self._decay(var)
        with tf.control_dependencies([grad]):  # of the weights that all workers read
            decayed = [var.assign_sub(rate * decay * var)] if decay else []
        with tf.control_dependencies(decayed):
            return self._update(grad, var, rate)

    def _update(self, grad, var, rate):
        return tf.raw_ops.ResourceApplyGradientDescent(var=var.handle, alpha=rate, delta=grad)


class Momentum(Sgd):
    """m = momentum * m + gradient; w -= rate * m."""
    nesterov = False

    def _create_slots(self, var_list):
        for var in var_list:
            self._zeros_slot(var, 'momentum', 'Momentum')

    def _update(self, grad, var, rate):
        return tf.raw_ops.ResourceApplyMomentum(
            var=var.handle, accum=self.get_slot(var, 'momentum').handle, lr=rate, grad=grad,
            momentum=self._momentum, use_nesterov=self.nesterov)


class Nesterov(Momentum):
    """m = momentum * m + gradient; w -= rate * (gradient + momentum * m)."""
    nesterov = True


class Adam(Sgd):
    """Kingma and Ba 2014 (https://arxiv.org/abs/1412.6980); with decoupled decay AdamW."""
    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

    def _create_slots(self, var_list):
        for var in var_list:
            for name in ('m', 'v'):
                self._zeros_slot(var, name, 'Adam_' + name)

    def _update(self, grad, var, rate):
        updates = tf.cast(self._global, tf.float32) + 1
        return tf.raw_ops.ResourceApplyAdam(
            var=var.handle, m=self.get_slot(var, 'm').handle, v=self.get_slot(var, 'v').handle,
            beta1_power=self.BETA1 ** updates, beta2_power=self.BETA2 ** updates, lr=rate,
            beta1=self.BETA1, beta2=self.BETA2, epsilon=self.EPSILON, grad=grad)


class Muon(Nesterov):
    """Orthogonalized momentum for the weights of convolutions, Nesterov's for all else.

    Keller Jordan 2024 (https://kellerjordan.github.io/posts/muon/), as in his CIFAR-10 record:
    before each update the weights of a convolution are scaled to the norm sqrt(filters). Those of
    a depthwise convolution [k, k, channels, 1] are no matrix: Nesterov's.
    """
    MOMENTUM = 0.6

    def _update(self, grad, var, rate):
        if not is_matrix(var.shape):
            return super()._update(grad, var, rate)
        filters = var.shape.as_list()[3]
        scaled = var * (filters ** 0.5 * tf.math.rsqrt(tf.reduce_sum(tf.square(var))))
        return var.assign(scaled - rate * self._direction(grad, var, self.MOMENTUM))

    def _direction(self, grad, var, momentum):
        slot = self.get_slot(var, 'momentum')
        now = slot.assign(momentum * slot + grad)
        matrix = tf.reshape(grad + momentum * now, [-1, var.shape.as_list()[3]])
        return tf.reshape(orthogonal(matrix), var.shape)


class MuonUnscaled(Muon):
    """As in the post: weights keep their norm, which counts where nothing normalizes later.

    The recipe's momentum is for all; a convolution with more filters than inputs learns faster.
    """

    def _update(self, grad, var, rate):
        if not is_matrix(var.shape):
            return super()._update(grad, var, rate)
        inputs, filters = var.shape[:3].num_elements(), var.shape.as_list()[3]
        return var.assign_sub(rate * max(1., filters / inputs) ** 0.5
                              * self._direction(grad, var, self._momentum))


def is_matrix(shape):
    """Whether `shape` is that of the weights of a convolution with filters across channels."""
    return shape.ndims == 4 and shape[3] > 1


def orthogonal(matrix, steps=3):
    """About the orthogonal matrix nearest to `matrix` [m, n]: its singular values become about 1.

    Newton and Schulz's iteration, with the coefficients of Muon.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.shape.as_list()[0] < matrix.shape.as_list()[1]
    x = matrix / (tf.sqrt(tf.reduce_sum(tf.square(matrix))) + 1e-7)
    for _ in range(steps):  # the square matrix is the smaller of the two
        square = tf.matmul(x, x, transpose_a=not wide, transpose_b=wide)
        by = b * square + c * tf.matmul(square, square)
        x = a * x + (tf.matmul(by, x) if wide else tf.matmul(x, by))
    return x


OPTIMIZERS = {'sgd': Sgd, 'momentum': Momentum, 'nesterov': Nesterov, 'adam': Adam, 'muon': Muon,
              'muon_unscaled': MuonUnscaled}


def optimizer(name, rate, decay, momentum, step):
    """The tf.train.Optimizer `name`; see Sgd for the arguments."""
    if name not in OPTIMIZERS:
        raise unknown_name_error('optimizer', name, OPTIMIZERS)
    return OPTIMIZERS[name](rate, decay, momentum, step)

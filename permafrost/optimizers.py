"""Optimizers by name: what tf.train has, and what it does not."""

import tensorflow.compat.v1 as tf

from permafrost.config import nearest

OPTIMIZERS = {
    'sgd': tf.train.GradientDescentOptimizer,
}


def optimizer(name, learning_rate):
    """The tf.train.Optimizer `name`; `learning_rate` is a number or a scalar tensor."""
    if name not in OPTIMIZERS:
        raise nearest('optimizer', name, OPTIMIZERS)
    return OPTIMIZERS[name](learning_rate)

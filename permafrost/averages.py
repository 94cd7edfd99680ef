"""Averages of the weights over the steps, kept beside them in the checkpoints."""

import math

import tensorflow.compat.v1 as tf

from permafrost import recipes

NAME = 'ExponentialMovingAverage'  # a variable's average has this for its slot's name


def update(config, global_step):
    """The operation that brings the averages up to date, after the update of the weights.

    Over the whole run decay is (1 + step) / (10 + step) at most, which makes the first averages
    short. Over the last epochs the first update takes the weights as they are, the next few are
    plain means, and until then averages are the weights.
    """
    recipe = config.recipe
    if recipe.average_every == 1 and not recipe.average_epochs:
        return tf.train.ExponentialMovingAverage(
            recipe.average_decay, global_step).apply(tf.trainable_variables())
    share = _share(recipe, _first(config), tf.cast(global_step.read_value(), tf.float64))
    keeper = _Averages(share)
    return tf.group(*[keeper.apply(variable) for variable in tf.trainable_variables()])


def _first(config):
    """The step from which on weights are averaged."""
    per_epoch = config.train_images / config.recipe.batch_size
    last = recipes.steps(config.recipe, config.train_images)
    return max(last - config.recipe.average_epochs * per_epoch, 0.) if (
        config.recipe.average_epochs) else 0.


def _share(recipe, first, step):
    """What the weights at `step` are given of their average: float32, from 0 to 1."""
    number = tf.floor((step - first) / recipe.average_every)  # of the update, 0 for the first
    due = tf.equal(tf.math.floormod(step - math.ceil(first), recipe.average_every), 0)
    later = tf.maximum(1. / tf.maximum(number + 1., 1.),
                       1. - recipe.average_decay ** recipe.average_every)
    share = tf.where_v2(step <= first, tf.ones([], tf.float64),
                        tf.where_v2(due, later, tf.zeros([], tf.float64)))
    return tf.cast(share, tf.float32)


class _Averages:
    """Averages named as those of tf.train.ExponentialMovingAverage, so that all else finds them."""

    def __init__(self, share):
        self._share = share

    def apply(self, variable):
        with tf.variable_scope(tf.get_variable_scope(), reuse=False):
            average = tf.get_variable(
                variable.op.name + '/' + NAME, initializer=variable.initial_value,
                trainable=False, use_resource=True)
        now = variable.read_value()
        return average.assign(average * (1. - self._share) + now * self._share)

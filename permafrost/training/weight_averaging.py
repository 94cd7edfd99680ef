"""Averages of the weights over the steps, kept beside them in the checkpoints."""

import math

import tensorflow.compat.v1 as tf

from permafrost.recipes import durations

NAME = 'ExponentialMovingAverage'  # a variable's average has this for its slot's name


def averages(config, global_step):
    """What keeps the averages of a recipe: its `apply(variables)`, run after the update of the
    weights, makes the operation that brings them up to date. None where there are none.

    Over the whole run, at every step, decay is (1 + step) / (10 + step) at most, which makes the
    first averages short. Over the last epochs, or every so many steps, the first update takes the
    weights as they are, the next few are plain means, and until then averages are the weights.
    """
    recipe = config.recipe
    if not recipe.average_decay:
        return None
    if recipe.average_every == 1 and not recipe.average_epochs:
        return tf.train.ExponentialMovingAverage(recipe.average_decay, global_step)
    return Averages(recipe, _first(config), global_step)


def _first(config):
    """The step from which on weights are averaged."""
    last = durations.num_steps(config.recipe, config.train_images)
    if not config.recipe.average_epochs:
        return config.recipe.average_every  # the weights before it are hardly trained
    return max(last - config.recipe.average_epochs * durations.steps_per_epoch(config), 0.)


def _share(recipe, first, step):
    """What the weights at `step` are given of their average: float32, from 0 to 1."""
    number = tf.floor((step - first) / recipe.average_every)  # of the update, 0 for the first
    due = tf.equal(tf.math.floormod(step - math.ceil(first), recipe.average_every), 0)
    later = tf.maximum(1. / tf.maximum(number + 1., 1.),
                       1. - recipe.average_decay ** recipe.average_every)
    share = tf.where_v2(step <= first, tf.ones([], tf.float64),
                        tf.where_v2(due, later, tf.zeros([], tf.float64)))
    return tf.cast(share, tf.float32)


class Averages:
    """Averages named as those of tf.train.ExponentialMovingAverage, so that all else finds them."""

    def __init__(self, recipe, first, global_step):
        self._recipe, self._first, self._step = recipe, first, global_step

    def apply(self, variables):
        share = _share(self._recipe, self._first, tf.cast(self._step.read_value(), tf.float64))
        return tf.group(*[self._apply(variable, share) for variable in variables])

    def _apply(self, variable, share):
        average = tf.get_variable(variable.op.name + '/' + NAME, trainable=False,
                                  initializer=variable.initial_value)
        return average.assign(average * (1. - share) + variable.read_value() * share)

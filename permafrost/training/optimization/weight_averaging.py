"""Moving averages of the weights, kept next to them in the checkpoints.

The moving statistics of batch normalization are averaged too: those of the last weights do not fit
averaged ones.
"""

import dataclasses
import math
from typing import Callable, List, Optional

import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.recipes import durations
from permafrost.training import initialization

NAME = 'ExponentialMovingAverage'  # the average of variable v is v/ExponentialMovingAverage


def create(config: Config, global_step: tf.Variable) -> Optional[Callable[[], tf.Operation]]:
    """Return a function that returns the operation that updates the averages; None without any.

    The operation must run after the update of the weights. An average over the whole run, at each
    step, has a decay of at most (1 + step) / (10 + step), so that it forgets the first steps.
    """
    recipe = config.recipe
    if not recipe.ema_decay:
        return None
    if recipe.ema_every == 1 and not recipe.ema_epochs:
        average = tf.train.ExponentialMovingAverage(recipe.ema_decay, global_step)
        return lambda: average.apply(averaged_variables(config))
    first_step = float(recipe.ema_every)  # the weights before it are hardly trained
    if recipe.ema_epochs:
        length = recipe.ema_epochs * durations.steps_per_epoch(config)
        first_step = max(durations.num_steps(recipe, config.train_images) - length, 0.)
    window = WindowedAverage(recipe.ema_decay, recipe.ema_every, first_step, global_step,
                             initialization.is_frozen(config))
    return lambda: window.apply(averaged_variables(config))


def averaged_variables(config: Config) -> List[tf.Variable]:
    """Return the variables of the default graph that have an average."""
    statistics = ('/moving_mean', '/moving_variance') if config.average_statistics else ()
    return tf.trainable_variables() + [variable for variable in tf.global_variables()
                                       if variable.op.name.endswith(statistics)]


@dataclasses.dataclass(frozen=True)
class WindowedAverage:
    """Averages from `first_step` on, updated every `every` steps.

    Until the first update the averages are the weights; the next few are plain means. Variables are
    named as those of tf.train.ExponentialMovingAverage, so evaluation finds them.
    """
    decay: float
    every: int
    first_step: float
    global_step: tf.Variable
    is_frozen: Callable[[str], bool] = lambda name: False  # the average stays the initial value

    def apply(self, variables: List[tf.Variable]) -> tf.Operation:
        """Return the operation that updates the averages of `variables`; create them."""
        share = self._share(tf.cast(self.global_step.read_value(), tf.float64))
        updates = []
        for variable in variables:
            average = tf.get_variable(variable.op.name + '/' + NAME, trainable=False,
                                      initializer=variable.initial_value)
            if not self.is_frozen(variable.op.name):
                updates.append(average.assign(
                    average * (1. - share) + variable.read_value() * share))
        return tf.group(*updates)

    def _share(self, step: tf.Tensor) -> tf.Tensor:
        """Return the share of the weights at `step` in their average: float32, from 0 to 1."""
        update = tf.floor((step - self.first_step) / self.every)  # 0 for the first
        due = tf.equal(tf.math.floormod(step - math.ceil(self.first_step), self.every), 0)
        share = tf.maximum(1. / tf.maximum(update + 1., 1.), 1. - self.decay ** self.every)
        share = tf.where_v2(due, share, tf.zeros([], tf.float64))
        share = tf.where_v2(step <= self.first_step, tf.ones([], tf.float64), share)
        return tf.cast(share, tf.float32)

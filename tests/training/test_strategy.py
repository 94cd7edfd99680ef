"""The training protocol: what a strategy must define, and what one process makes of it."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.cluster.worker import ClusterWorker
from permafrost.training.strategy import SINGLE_PROCESS, Strategy


def test_every_strategy_defines_the_protocol():
    with pytest.raises(TypeError, match='abstract'):
        Strategy()
    for strategy in (type(SINGLE_PROCESS), ClusterWorker):
        assert issubclass(strategy, Strategy) and not strategy.__abstractmethods__
    assert SINGLE_PROCESS.script.endswith('.py')


@pytest.mark.parametrize('with_averages', [False, True])
def test_the_step_is_read_after_the_update_and_averages_follow_it(default_graph, with_averages):
    tf.train.get_or_create_global_step()
    weight = tf.get_variable('weight', initializer=4.)
    moving = tf.get_variable('moving', initializer=0., trainable=False)
    tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, moving.assign_add(1.))  # batch normalization's
    averages = tf.train.ExponentialMovingAverage(.75)
    with SINGLE_PROCESS.device_scope(), SINGLE_PROCESS.variable_scope():
        optimizer = tf.train.GradientDescentOptimizer(.5)
        train, step = SINGLE_PROCESS.update(
            optimizer, optimizer.compute_gradients(tf.square(weight)),
            (lambda: averages.apply([weight])) if with_averages else None)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        # The gradient is 2 * weight: each update with rate 0.5 makes the weight 0.
        assert session.run([train, step])[1] == 1
        assert session.run([weight, moving]) == [0., 1.]
        if with_averages:
            np.testing.assert_allclose(session.run(averages.average(weight)), .75 * 4. + .25 * 0.)
        assert session.run([train, step])[1] == 2

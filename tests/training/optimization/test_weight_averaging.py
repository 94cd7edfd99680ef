"""Moving averages of the weights against NumPy, step by step."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.training.optimization import weight_averaging
from tests import networks
from tests.training.helpers import train_graph


@pytest.mark.parametrize('epochs, first_step, updates', [(2, 12, 4), (0, 2, 9)])
def test_averages_every_other_step(epochs, first_step, updates, default_graph):
    """Over the last 2 of 5 epochs of 4 steps, or over all: means at first, then a decay."""
    graph = train_graph('lenet5', ['epochs=5', 'ema_decay=0.6', 'ema_every=2',
                                   f'ema_epochs={epochs}', 'schedule=constant'])
    variables = {v.op.name: v for v in tf.global_variables()}
    weights = variables['fc1/weights']
    average = variables['fc1/weights/' + weight_averaging.NAME]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(*session.run([weights, average]))
        expected, count = None, 0
        for step in range(1, 21):
            session.run(graph.train)
            value, averaged = session.run([weights, average])
            if step <= first_step:
                expected = value
            elif step % 2 == 0:
                count += 1
                share = max(1 - 0.6 ** 2, 1 / (count + 1))
                expected = expected * (1 - share) + value * share
            np.testing.assert_allclose(averaged, expected, rtol=1e-5, atol=1e-6)
        assert count == updates and (averaged != value).any()


def test_statistics_of_batch_normalization_are_averaged_as_the_weights_are(default_graph):
    with networks.registered():
        graph = train_graph('lenet5', ['ema_decay=0.9', 'schedule=constant'], 'normed',
                            average_statistics=True)
    variables = {v.op.name: v for v in tf.global_variables()}
    names = ['conv1/weights', 'conv1/bn/moving_mean', 'conv2/bn/moving_variance']
    values = {name: variables[name] for name in names}
    averages = {name: variables[f'{name}/{weight_averaging.NAME}'] for name in names}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        expected = session.run(values)
        for step in range(1, 4):
            session.run(graph.train)
            decay = min(0.9, (1 + step) / (10 + step))
            now, averaged = session.run([values, averages])
            for name in names:
                expected[name] = decay * expected[name] + (1 - decay) * now[name]
                np.testing.assert_allclose(averaged[name], expected[name], rtol=1e-4, atol=1e-6)


def test_a_recipe_without_averages_has_none(default_graph):
    train_graph('lenet5')
    assert not [v for v in tf.global_variables() if weight_averaging.NAME in v.op.name]

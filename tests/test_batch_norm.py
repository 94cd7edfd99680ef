"""Batch normalization, in training and in inference, against slow NumPy."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.net import Net
from tests import networks
from tests.layers import randoms, windows

pytestmark = pytest.mark.usefixtures('default_graph')


def normed(training, x):
    """net.conv with batch normalization: the net, its output, {name: variable}."""
    net = Net(training)
    y = net.conv('layer', tf.constant(x), 6, 3, norm=True)
    return net, y, {v.op.name[len('layer/'):]: v for v in tf.global_variables()}


def test_batch_normalization_has_its_names_and_counts():
    net, _, variables = normed(True, randoms(2, 5, 4, 3))
    assert {name: v.shape.as_list() for name, v in variables.items()} == dict(
        {'weights': [3, 3, 3, 6]}, **dict.fromkeys(
            ['bn/gamma', 'bn/beta', 'bn/moving_mean', 'bn/moving_variance'], [6]))
    assert {v.op.name for v in tf.trainable_variables()} == {
        'layer/weights', 'layer/bn/gamma', 'layer/bn/beta'}
    macs = 9 * 3 * 6 * 20
    assert net.layers == [('layer', 'conv', (5, 4, 6), 162 + 12, 2 * macs + 3 * 120, macs)]


def convolved(x, w):
    y = np.zeros(x.shape[:3] + w.shape[3:])
    for (i, j), (part, top, left) in windows(x, w.shape[0], 1).items():
        y[:, i, j] = np.tensordot(part, w[top:top + part.shape[1], left:left + part.shape[2]], 3)
    return y


def test_batch_normalization_in_training():
    x = randoms(4, 5, 4, 3)
    net, y, variables = normed(True, x)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert len(updates) == 2
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        variables['bn/gamma'].load(randoms(6), session)
        variables['bn/beta'].load(randoms(6) + 1, session)
        got, w = session.run([y, variables['weights']])
        session.run(updates)
        mean, variance = session.run([variables['bn/moving_mean'],
                                      variables['bn/moving_variance']])
    maps = convolved(x, w)
    by_channel = maps.reshape(-1, 6)
    normal = (maps - by_channel.mean(0)) / np.sqrt(by_channel.var(0) + net.norm_epsilon)
    np.testing.assert_allclose(got, np.maximum(normal * randoms(6) + randoms(6) + 1, 0), atol=1e-4)
    np.testing.assert_allclose(mean, 0.1 * by_channel.mean(0), atol=1e-5)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * by_channel.var(0, ddof=1), rtol=1e-4)


def test_batch_normalization_in_inference():
    x = randoms(2, 5, 4, 3)
    net, y, variables = normed(False, x)
    assert not tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    values = {'gamma': randoms(6), 'beta': randoms(6) + 1, 'moving_mean': randoms(6) / 2,
              'moving_variance': np.abs(randoms(6)) + 0.2}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for name, value in values.items():
            variables['bn/' + name].load(value, session)
        got, w = session.run([y, variables['weights']])
    normal = (convolved(x, w) - values['moving_mean']) / np.sqrt(
        values['moving_variance'] + net.norm_epsilon)
    np.testing.assert_allclose(
        got, np.maximum(normal * values['gamma'] + values['beta'], 0), atol=1e-4)


def test_training_moves_the_moving_statistics(synthetic, tmp_path):
    with networks.registered():
        networks.train(synthetic, str(tmp_path), 3)
    reader = tf.train.load_checkpoint(str(tmp_path / 'train'))
    for name, first in (('moving_mean', 0), ('moving_variance', 1)):
        assert (reader.get_tensor('conv1/bn/' + name) != first).all()

"""Batch normalization, in training and in inference, against slow NumPy."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers.net import Net
from tests import networks
from tests.models.layer_helpers import convolved, randoms

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


@pytest.mark.parametrize('count, group, sizes', [
    (8, 4, [4, 4]), (8, 0, [8]), (8, 16, [8]), (10, 4, [4, 6])])
def test_groups_are_normalized_apart(count, group, sizes):
    x = randoms(count, 3, 3, 5) + np.arange(count)[:, None, None, None]
    net = Net(training=True)
    net.norm_group, net.norm_scale, net.norm_decay = group, False, 0.6
    y = net.norm('bn', tf.constant(x.astype(np.float32)))
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found = session.run(y)
        session.run(updates)
        moved = {v.op.name: session.run(v) for v in tf.global_variables()}
    parts = np.split(x.astype(float), np.cumsum(sizes)[:-1])
    expected = [(part - part.mean((0, 1, 2))) / np.sqrt(part.var((0, 1, 2)) + net.norm_epsilon)
                for part in parts]
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-4)
    means = np.mean([part.mean((0, 1, 2)) for part in parts], 0)
    variances = np.mean([part.reshape(-1, 5).var(0, ddof=1) for part in parts], 0)
    np.testing.assert_allclose(moved['bn/moving_mean'], 0.4 * means, rtol=1e-4)
    np.testing.assert_allclose(moved['bn/moving_variance'], 0.6 + 0.4 * variances, rtol=1e-4)
    assert {v.op.name for v in tf.trainable_variables()} == {'bn/beta'}


def test_groups_need_a_known_batch():
    net = Net(training=True)
    net.norm_group = 4
    with pytest.raises(ValueError, match='need a known batch size'):
        net.norm('bn', tf.placeholder(tf.float32, [None, 3, 3, 5]))


def test_rows_are_normalized_too():
    x = randoms(6, 5)
    net = Net(training=True)
    y = net.norm('bn', tf.constant(x))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        y = session.run(y)
    np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + net.norm_epsilon),
                               atol=1e-4)

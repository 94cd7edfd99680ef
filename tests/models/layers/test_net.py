"""The layers against slow NumPy."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers.net import Net
from tests.models.layer_helpers import evaluate, randoms, windows

pytestmark = pytest.mark.usefixtures('default_graph')


def layer(method, x, *args, **kwargs):
    """The Layer and output of net.<method>('layer', x, ...), its weights and its biases."""
    net = Net(training=False)
    y = getattr(net, method)('layer', tf.constant(x), *args, **kwargs)
    variables = tf.global_variables()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for variable in variables[1:]:
            variable.load(randoms(*variable.shape.as_list()), session)  # zeros would hide them
        record, = net.layers
        values = session.run([y] + variables)
    assert record.name == 'layer' and record.kind == method
    assert record.output_shape == values[0].shape[1:]
    return (record,) + tuple(values)


@pytest.mark.parametrize('shape, filters, size', [
    ((2, 5, 4, 3), 6, 3), ((1, 3, 6, 2), 3, 5), ((2, 4, 4, 5), 4, 1), ((1, 5, 5, 2), 3, 2)])
def test_conv(shape, filters, size):
    x = randoms(*shape)
    record, y, w, b = layer('conv', x, filters, size)
    expected = np.zeros(shape[:3] + (filters,))
    for (i, j), (part, top, left) in windows(x, size, 1).items():
        under = w[top:top + part.shape[1], left:left + part.shape[2]]
        expected[:, i, j] = np.maximum(np.tensordot(part, under, 3) + b, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    macs = size * size * shape[3] * filters * shape[1] * shape[2]
    outputs = shape[1] * shape[2] * filters
    assert record[3:] == (w.size + b.size, 2 * macs + 3 * outputs, macs)


@pytest.mark.parametrize('shape', [(3, 7), (2, 2, 3, 4)])
@pytest.mark.parametrize('relu', [True, False])
def test_fc(shape, relu):
    x = randoms(*shape)
    record, y, w, b = layer('fc', x, 5, activation='relu' if relu else 'linear')
    expected = x.reshape(shape[0], -1).dot(w) + b
    assert expected.min() < 0
    np.testing.assert_allclose(y, np.maximum(expected, 0) if relu else expected, atol=1e-5)
    assert record[3:] == (w.size + 5, 2 * w.size + (15 if relu else 5), w.size)


@pytest.mark.parametrize('shape, size', [
    ((2, 6, 6, 3), 3), ((1, 5, 7, 2), 3), ((2, 4, 5, 3), 2), ((1, 1, 1, 2), 3)])
def test_max_pool(shape, size):
    x = randoms(*shape) - 5  # below zero: what pads must not win
    record, y = layer('max_pool', x, size=size)
    for (i, j), (part, _, _) in windows(x, size, 2).items():
        np.testing.assert_array_equal(y[:, i, j], part.max((1, 2)))
    assert y.shape[1:3] == (-(-shape[1] // 2), -(-shape[2] // 2))
    assert record[3:] == (0, 0, 0)


@pytest.mark.parametrize('channels', [3, 12])
def test_lrn(channels):
    x = 50 * randoms(2, 3, 2, channels)
    record, y = layer('lrn', x)
    for c in range(channels):
        squares = (x[..., max(c - 4, 0):c + 5] ** 2).sum(-1)
        np.testing.assert_allclose(y[..., c], x[..., c] / (1 + 0.001 / 9 * squares) ** 0.75,
                                   rtol=2e-4)
    assert record[3:] == (0, 36 * 3 * 2 * channels, 0)


def test_global_avg_pool():
    x = randoms(2, 3, 5, 4)
    record, y = layer('global_avg_pool', x)
    np.testing.assert_allclose(y, x.reshape(2, 15, 4).mean(1), atol=1e-6)
    assert record[3:] == (0, 0, 0)


def test_concat():
    net = Net(training=False)
    one, two = randoms(2, 3, 3, 4), randoms(2, 3, 3, 2)
    y, = evaluate(net.concat('both', [tf.constant(one), tf.constant(two)]))
    np.testing.assert_array_equal(y[..., :4], one)
    np.testing.assert_array_equal(y[..., 4:], two)
    assert net.layers == [('both', 'concat', (3, 3, 6), 0, 0, 0)]


def dropped(x, rate, name='drop', **net_args):
    return evaluate(Net(True, **net_args).dropout(name, tf.constant(x), rate))[0]


@pytest.mark.parametrize('rate', [0.3, 0.5])
def test_dropout_keeps_the_mean(rate):
    y = dropped(np.ones([8, 50, 50, 4], np.float32), rate, step=tf.constant(3))
    assert set(np.unique(y)) == {0, np.float32(1 / (1 - rate))}
    assert abs(y.mean() - 1) < 0.02
    assert abs(y.mean((0, 1, 2)) - 1).max() < 0.05  # and each channel's


def test_dropout_follows_from_seed_name_and_step():
    x = np.ones([4, 100], np.float32)
    one = dropped(x, 0.5, step=tf.constant(3), seed=1)
    tf.random.uniform([2])  # an unrelated op
    np.testing.assert_array_equal(one, dropped(x, 0.5, step=tf.constant(3), seed=1))
    for other in (dropped(x, 0.5, step=tf.constant(4), seed=1),
                  dropped(x, 0.5, step=tf.constant(3), seed=2),
                  dropped(x, 0.5, 'drop2', step=tf.constant(3), seed=1)):
        assert 0.3 < (one != other).mean() < 0.7


def test_dropout_is_gone_in_inference():
    x = tf.ones([2, 3])
    assert Net(training=False).dropout('drop', x, 0.5) is x


def test_dropout_without_a_step_is_refused():
    with pytest.raises(ValueError, match='needs a step'):
        Net(training=True).dropout('drop', tf.ones([2, 3]), 0.5)


@pytest.mark.parametrize('stride, size', [(1, 3), (2, 3), (2, 1)])
def test_strides(stride, size):
    x = randoms(2, 6, 5, 3)
    record, y, w, b = layer('conv', x, 4, size, stride=stride)
    expected = np.zeros((2, 3, 3, 4) if stride == 2 else (2, 6, 5, 4))
    for (i, j), (part, top, left) in windows(x, size, stride).items():
        under = w[top:top + part.shape[1], left:left + part.shape[2]]
        expected[:, i, j] = np.maximum(np.tensordot(part, under, 3) + b, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert record.macs == w.size * expected[0, ..., 0].size


@pytest.mark.parametrize('stride', [1, 2])
def test_depthwise(stride):
    x = randoms(2, 6, 6, 3)
    record, y, w, b = layer('depthwise', x, 3, stride=stride)
    assert w.shape == (3, 3, 3, 1) and b.shape == (3,)
    expected = np.zeros((2, 6 // stride, 6 // stride, 3))
    for (i, j), (part, top, left) in windows(x, 3, stride).items():
        under = w[top:top + part.shape[1], left:left + part.shape[2], :, 0]
        expected[:, i, j] = np.maximum((part * under).sum((1, 2)) + b, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    macs = 27 * (6 // stride) ** 2
    assert record[3:] == (30, 2 * macs + 3 * expected[0].size, macs)


def test_separable_is_a_depthwise_and_a_pointwise_convolution():
    net = Net(training=False)
    y = net.separable('layer', tf.constant(randoms(2, 5, 5, 3)), 8, 3, stride=2, norm=True)
    assert y.shape.as_list() == [2, 3, 3, 8]
    assert [(part.name, part.kind, part.params, part.macs) for part in net.layers] == [
        ('layer/depthwise', 'depthwise', 27, 27 * 9),
        ('layer/pointwise', 'conv', 24 + 16, 24 * 9)]


def test_avg_pool():
    x = randoms(2, 5, 5, 3)
    _, y = layer('avg_pool', x)
    for (i, j), (part, _, _) in windows(x, 3, 2).items():
        np.testing.assert_allclose(y[:, i, j], part.mean((1, 2)), atol=1e-6)


def test_shortcut():
    x = randoms(2, 6, 6, 4)
    record, y = layer('shortcut', x, 8, 2)
    np.testing.assert_array_equal(y[..., 2:6], x[:, ::2, ::2])
    assert not y[..., :2].any() and not y[..., 6:].any() and record[3:] == (0, 0, 0)


def test_add_and_scale():
    net = Net(training=False)
    x, y = randoms(2, 3, 3, 4), randoms(2, 3, 3, 4) + 1
    both = net.scale('scale', net.add('add', tf.constant(x), tf.constant(y)), 0.5)
    np.testing.assert_allclose(evaluate(both)[0], (x + y) / 2, rtol=1e-6)
    assert [part.ops for part in net.layers] == [36, 36]

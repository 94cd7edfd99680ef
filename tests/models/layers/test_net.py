"""Layers, batch normalization and bfloat16 convolutions, against slow NumPy."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers import net as layers_net
from models.layers.net import Net
from permafrost import engines
from tests import networks
from tests.environment import needs_bfloat16
from tests.models.helpers import convolved, evaluate, randoms, windows

pytestmark = pytest.mark.usefixtures('default_graph')


def layer(method, x, *args, **kwargs):
    """Return the Layer and output of net.<method>('layer', x, ...), its weights and biases."""
    net = Net(training=False)
    y = getattr(net, method)('layer', tf.constant(x), *args, **kwargs)
    variables = tf.global_variables()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for variable in variables[1:]:
            variable.load(randoms(*variable.shape.as_list()), session)  # zeros would hide biases
        record, = net.layers
        values = session.run([y] + variables)
    assert record.name == 'layer' and record.kind == method
    assert record.output_shape == values[0].shape[1:]
    return (record,) + tuple(values)


@pytest.mark.parametrize('shape, filters, size', [
    ((2, 5, 4, 3), 6, 3), ((1, 3, 6, 2), 3, 5), ((2, 4, 4, 5), 4, 1), ((1, 5, 5, 2), 3, 2)])
def test_conv_is_a_convolution_with_bias_and_relu(shape, filters, size):
    x = randoms(*shape)
    record, y, w, b = layer('conv', x, filters, size)
    expected = np.zeros(shape[:3] + (filters,))
    for (i, j), (under, top, left) in windows(x, size, 1).items():
        weights = w[top:top + under.shape[1], left:left + under.shape[2]]
        expected[:, i, j] = np.maximum(np.tensordot(under, weights, 3) + b, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    macs = size * size * shape[3] * filters * shape[1] * shape[2]
    outputs = shape[1] * shape[2] * filters
    assert record[3:] == (w.size + b.size, 2 * macs + 3 * outputs, macs)


@pytest.mark.parametrize('shape', [(3, 7), (2, 2, 3, 4)])
@pytest.mark.parametrize('relu', [True, False])
def test_fc_is_a_product_with_bias_and_perhaps_relu(shape, relu):
    x = randoms(*shape)
    record, y, w, b = layer('fc', x, 5, activation='relu' if relu else 'linear')
    expected = x.reshape(shape[0], -1).dot(w) + b
    assert expected.min() < 0
    np.testing.assert_allclose(y, np.maximum(expected, 0) if relu else expected, atol=1e-5)
    assert record[3:] == (w.size + 5, 2 * w.size + (15 if relu else 5), w.size)


@pytest.mark.parametrize('shape, size', [
    ((2, 6, 6, 3), 3), ((1, 5, 7, 2), 3), ((2, 4, 5, 3), 2), ((1, 1, 1, 2), 3)])
def test_max_pool_is_the_maximum_of_each_window(shape, size):
    x = randoms(*shape) - 5  # below zero: padding must not win
    record, y = layer('max_pool', x, size=size)
    for (i, j), (under, _, _) in windows(x, size, 2).items():
        np.testing.assert_array_equal(y[:, i, j], under.max((1, 2)))
    assert y.shape[1:3] == (-(-shape[1] // 2), -(-shape[2] // 2))
    assert record[3:] == (0, 0, 0)


@pytest.mark.parametrize('channels', [3, 12])
def test_lrn_is_the_published_formula(channels):
    x = 50 * randoms(2, 3, 2, channels)
    record, y = layer('lrn', x)
    for c in range(channels):
        squares = (x[..., max(c - 4, 0):c + 5] ** 2).sum(-1)
        np.testing.assert_allclose(y[..., c], x[..., c] / (1 + 0.001 / 9 * squares) ** 0.75,
                                   rtol=2e-4)
    assert record[3:] == (0, 36 * 3 * 2 * channels, 0)


def test_global_avg_pool_is_the_mean_over_positions():
    x = randoms(2, 3, 5, 4)
    record, y = layer('global_avg_pool', x)
    np.testing.assert_allclose(y, x.reshape(2, 15, 4).mean(1), atol=1e-6)
    assert record[3:] == (0, 0, 0)


def test_concat_joins_channels():
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


def test_dropout_depends_on_seed_name_and_step_only():
    x = np.ones([4, 100], np.float32)
    mask = dropped(x, 0.5, step=tf.constant(3), seed=1)
    tf.random.uniform([2])  # an unrelated op
    np.testing.assert_array_equal(mask, dropped(x, 0.5, step=tf.constant(3), seed=1))
    for other in (dropped(x, 0.5, step=tf.constant(4), seed=1),
                  dropped(x, 0.5, step=tf.constant(3), seed=2),
                  dropped(x, 0.5, 'drop2', step=tf.constant(3), seed=1)):
        assert 0.3 < (mask != other).mean() < 0.7


def test_dropout_does_nothing_in_inference():
    x = tf.ones([2, 3])
    assert Net(training=False).dropout('drop', x, 0.5) is x


def test_dropout_without_a_step_is_refused():
    with pytest.raises(ValueError, match='None values'):
        Net(training=True).dropout('drop', tf.ones([2, 3]), 0.5)


@pytest.mark.parametrize('stride, size', [(1, 3), (2, 3), (2, 1)])
def test_conv_with_strides(stride, size):
    x = randoms(2, 6, 5, 3)
    record, y, w, b = layer('conv', x, 4, size, stride=stride)
    expected = np.zeros((2, 3, 3, 4) if stride == 2 else (2, 6, 5, 4))
    for (i, j), (under, top, left) in windows(x, size, stride).items():
        weights = w[top:top + under.shape[1], left:left + under.shape[2]]
        expected[:, i, j] = np.maximum(np.tensordot(under, weights, 3) + b, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert record.macs == w.size * expected[0, ..., 0].size


@pytest.mark.parametrize('stride', [1, 2])
def test_depthwise_convolves_each_channel_on_its_own(stride):
    x = randoms(2, 6, 6, 3)
    record, y, w = layer('depthwise', x, 3, stride=stride)
    assert w.shape == (3, 3, 3, 1)
    expected = np.zeros((2, 6 // stride, 6 // stride, 3))
    for (i, j), (under, top, left) in windows(x, 3, stride).items():
        weights = w[top:top + under.shape[1], left:left + under.shape[2], :, 0]
        expected[:, i, j] = (under * weights).sum((1, 2))
    np.testing.assert_allclose(y, expected, atol=1e-5)
    macs = 27 * (6 // stride) ** 2
    assert record[3:] == (27, 2 * macs, macs)


def test_separable_is_a_depthwise_and_a_pointwise_convolution():
    net = Net(training=False)
    y = net.separable('layer', tf.constant(randoms(2, 5, 5, 3)), 8, 3, stride=2, norm=True)
    assert y.shape.as_list() == [2, 3, 3, 8]
    assert [(layer.name, layer.kind, layer.params, layer.macs) for layer in net.layers] == [
        ('layer/depthwise', 'depthwise', 27, 27 * 9),
        ('layer/pointwise', 'conv', 24 + 16, 24 * 9)]


def test_avg_pool_is_the_mean_of_each_window():
    x = randoms(2, 5, 5, 3)
    _, y = layer('avg_pool', x)
    for (i, j), (under, _, _) in windows(x, 3, 2).items():
        np.testing.assert_allclose(y[:, i, j], under.mean((1, 2)), atol=1e-6)


def test_shortcut_takes_every_second_position_and_adds_zeros():
    x = randoms(2, 6, 6, 4)
    record, y = layer('shortcut', x, 8, 2)
    np.testing.assert_array_equal(y[..., 2:6], x[:, ::2, ::2])
    assert not y[..., :2].any() and not y[..., 6:].any() and record[3:] == (0, 0, 0)


@pytest.mark.parametrize('size, stride', [(6, 2), (6, 3), (5, 2), (6, 1)])
def test_shortcuts_of_training_are_those_of_inference_and_have_their_gradient(size, stride):
    x = tf.constant(randoms(2, size, size, 4))
    outputs = [Net(training).shortcut('shortcut', x, 8, stride) for training in (True, False)]
    assert outputs[0].shape.as_list() == outputs[1].shape.as_list()
    upstream = randoms(*outputs[0].shape.as_list())
    one, other = evaluate(outputs, [tf.gradients(y, x, upstream)[0] for y in outputs])
    for trained, expected in (one, other):
        np.testing.assert_array_equal(trained, expected)


def test_add_and_multiply():
    net = Net(training=False)
    x, y = randoms(2, 3, 3, 4), randoms(2, 3, 3, 4) + 1
    both = net.multiply('multiply', net.add('add', tf.constant(x), tf.constant(y)), 0.5)
    np.testing.assert_allclose(evaluate(both)[0], (x + y) / 2, rtol=1e-6)
    assert [layer.ops for layer in net.layers] == [36, 36]


def normed(training, x):
    """Return the net of a conv with batch normalization, its output, {name: variable}."""
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
        output, w = session.run([y, variables['weights']])
        session.run(updates)
        mean, variance = session.run([variables['bn/moving_mean'],
                                      variables['bn/moving_variance']])
    maps = convolved(x, w)
    by_channel = maps.reshape(-1, 6)
    normal = (maps - by_channel.mean(0)) / np.sqrt(by_channel.var(0) + net.norm_epsilon)
    np.testing.assert_allclose(output, np.maximum(normal * randoms(6) + randoms(6) + 1, 0),
                               atol=1e-4)
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
        output, w = session.run([y, variables['weights']])
    normal = (convolved(x, w) - values['moving_mean']) / np.sqrt(
        values['moving_variance'] + net.norm_epsilon)
    np.testing.assert_allclose(
        output, np.maximum(normal * values['gamma'] + values['beta'], 0), atol=1e-4)


def test_training_moves_the_moving_statistics(synthetic, tmp_path):
    with networks.registered():
        networks.train(synthetic, str(tmp_path), 3)
    reader = tf.train.load_checkpoint(str(tmp_path / 'train'))
    for name, initial in (('moving_mean', 0), ('moving_variance', 1)):
        assert (reader.get_tensor('conv1/bn/' + name) != initial).all()


@pytest.mark.parametrize('count, group, sizes', [
    (8, 4, [4, 4]), (8, 0, [8]), (8, 16, [8]), (10, 4, [4, 6])])
def test_ghost_batches_are_normalized_separately(count, group, sizes):
    x = randoms(count, 3, 3, 5) + np.arange(count)[:, None, None, None]
    net = Net(training=True)
    net.ghost_batch_size, net.norm_scale, net.norm_decay = group, False, 0.6
    y = net.norm('bn', tf.constant(x.astype(np.float32)))
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        output = session.run(y)
        session.run(updates)
        moved = {v.op.name: session.run(v) for v in tf.global_variables()}
    groups = np.split(x.astype(float), np.cumsum(sizes)[:-1])
    expected = [(group - group.mean((0, 1, 2)))
                / np.sqrt(group.var((0, 1, 2)) + net.norm_epsilon) for group in groups]
    np.testing.assert_allclose(output, np.concatenate(expected), atol=1e-4)
    means = np.mean([group.mean((0, 1, 2)) for group in groups], 0)
    variances = np.mean([group.reshape(-1, 5).var(0, ddof=1) for group in groups], 0)
    np.testing.assert_allclose(moved['bn/moving_mean'], 0.4 * means, rtol=1e-4)
    np.testing.assert_allclose(moved['bn/moving_variance'], 0.6 + 0.4 * variances, rtol=1e-4)
    assert {v.op.name for v in tf.trainable_variables()} == {'bn/beta'}


def test_ghost_batches_need_a_known_batch_size():
    net = Net(training=True)
    net.ghost_batch_size = 4
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


def conv_gradient(compute_dtype, training=True):
    """Return (graph, gradient by the weights, output) of a convolution of random numbers."""
    rng = np.random.RandomState(0)
    arrays = [rng.randn(8, 12, 12, channels).astype(np.float32) for channels in (16, 32)]
    with tf.Graph().as_default() as graph:
        net = Net(training, compute_dtype=compute_dtype, seed=3)
        feeds = [tf.placeholder(tf.float32, array.shape) for array in arrays]
        y = net.conv('conv', feeds[0], 32, 3, activation='linear')
        gradient, = tf.gradients(y * feeds[1], tf.trainable_variables()[:1])
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            return [graph] + session.run([gradient, y], dict(zip(feeds, arrays)))


@needs_bfloat16
def test_bfloat16_rounds_convolutions_and_nothing_else():
    graph, *rounded = conv_gradient('bfloat16')
    _, *exact = conv_gradient('float32')
    for approximation, value in zip(rounded, exact):
        assert approximation.dtype == np.float32
        # Without instructions for bfloat16, sums are rounded too; training uses float32 there.
        limit = 1e-2 if engines.has_bfloat16('tf2') else 5e-2
        assert 1e-4 < relative_error(approximation, value) < limit
    assert {v.dtype.base_dtype for v in graph.get_collection('variables')} == {tf.float32}
    types = {op.type for op in graph.get_operations()
             if op.type != 'Cast' and any(t.dtype == tf.bfloat16 for t in op.inputs)}
    assert types - {'ShapeN'} == {'Conv2D', 'Conv2DBackpropFilter', 'Conv2DBackpropInput'}


@needs_bfloat16
def test_normalization_between_bfloat16_convolutions_computes_the_same(monkeypatch):
    """Batch normalization, ReLU and pooling in bfloat16, of numbers that a convolution rounds."""
    def outputs_and_gradients():
        with tf.Graph().as_default() as graph, tf.Session() as session:
            net = Net(True, compute_dtype='bfloat16', seed=3)
            x = tf.constant(randoms(8, 12, 12, 16))
            y = net.max_pool('pool', net.conv('a', x, 32, 3, norm=True))
            y = net.conv('b', y, 8, 3, activation='linear')
            gradients = tf.gradients(tf.nn.l2_loss(y), tf.trainable_variables())
            session.run(tf.global_variables_initializer())
            moved = session.run([y, *gradients, *tf.get_collection(tf.GraphKeys.UPDATE_OPS)])
            types = {op.inputs[0].dtype for op in graph.get_operations()
                     if op.type in ('FusedBatchNormV3', 'Relu', 'MaxPool')}
            return types, moved

    types, found = outputs_and_gradients()
    assert types == {tf.bfloat16}
    monkeypatch.setattr(layers_net, '_before_cast', lambda x: x)
    types, expected = outputs_and_gradients()
    assert types == {tf.float32}
    np.testing.assert_array_equal(found[0], expected[0])
    assert max(map(relative_error, found[1:], expected[1:])) < 0.01


@needs_bfloat16
def test_biases_and_concatenation_between_bfloat16_convolutions(monkeypatch):
    """They are rounded as convolutions are; the logits are not."""
    def outputs_and_gradients(compute_dtype='bfloat16'):
        with tf.Graph().as_default() as graph, tf.Session() as session:
            net = Net(True, compute_dtype=compute_dtype, seed=3)
            x = net.conv('a', tf.constant(randoms(8, 12, 12, 16)), 32, 3)
            x = net.concat('ab', [net.conv('b', x, 8, 1), net.conv('c', x, 16, 3)])
            y = net.conv('logits', x, 10, 1, activation='linear')
            variables = tf.trainable_variables()
            for variable in variables[1::2]:
                variable.initial = tf.constant(randoms(*variable.shape.as_list()))
            gradients = tf.gradients(tf.nn.l2_loss(y), variables)
            session.run(tf.global_variables_initializer())
            session.run([variable.assign(variable.initial) for variable in variables[1::2]])
            types = [op.inputs[0].dtype for op in graph.get_operations()
                     if op.type in ('BiasAdd', 'Relu', 'ConcatV2')]
            return types, session.run([y, *gradients])

    types, found = outputs_and_gradients()
    assert types == [tf.bfloat16] * 7 + [tf.float32]
    _, exact = outputs_and_gradients('float32')
    monkeypatch.setattr(layers_net, '_before_cast', lambda x: x)
    types, rounded = outputs_and_gradients()
    assert set(types) == {tf.float32}
    if not engines.has_bfloat16('tf2'):
        pytest.skip('sums are rounded too, for lack of instructions for bfloat16')
    for approximation, other, value in zip(found, rounded, exact):
        assert 0 < relative_error(approximation, value) < 3 * relative_error(other, value)


def relative_error(found, expected):
    return np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected ** 2))


def test_inference_is_never_in_bfloat16():
    graph, *_ = conv_gradient('bfloat16', training=False)
    assert tf.bfloat16 not in {t.dtype for op in graph.get_operations() for t in op.outputs}

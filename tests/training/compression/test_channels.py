"""Which channels are one, in networks whose answer is known."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers.net import Net
from permafrost.training.compression.channels import Channels


def _channels(build, size=8):
    """Return the Channels of the network that `build(net, x)` makes, and {variable: makes}."""
    with tf.Graph().as_default() as graph:
        logits = build(Net(training=False), tf.placeholder(tf.float32, (None, size, size, 3)))
        channels = Channels(graph, logits.op.name)
    return channels, {use.parameter: use.ids for use in channels.uses if use.makes}


def _reads(channels, parameter):
    use, = (use for use in channels.uses if use.parameter == parameter and not use.makes)
    return channels.root(use.ids)


def _head(net, x):
    return net.fc('logits', net.global_avg_pool('pool', x), 10, activation='linear')


def test_a_chain_passes_channels_through_norms_activations_and_pools():
    def build(net, x):
        x = net.conv('a', x, 6, 3, norm=True, activation='sigmoid_gelu')
        x = net.max_pool('pool1', x)
        x = net.norm('n', x)
        return _head(net, net.conv('b', x, 5, 3, activation='celu:0.3'))

    channels, makes = _channels(build)
    np.testing.assert_array_equal(_reads(channels, 'b/weights'), channels.root(makes['a/weights']))
    np.testing.assert_array_equal(_reads(channels, 'n/gamma'), channels.root(makes['a/weights']))
    np.testing.assert_array_equal(_reads(channels, 'logits/weights'),
                                  channels.root(makes['b/weights']))
    assert not channels.is_fixed(makes['a/weights']).any()
    assert channels.is_fixed(makes['logits/weights']).all()  # the classes
    assert channels.is_fixed(_reads(channels, 'a/weights')).all()  # the colours


def test_concatenated_channels_come_one_after_the_other():
    def build(net, x):
        both = [net.conv('a', x, 2, 1), net.conv('b', x, 3, 3)]
        return _head(net, net.conv('c', net.concat('both', both), 4, 1))

    channels, makes = _channels(build)
    np.testing.assert_array_equal(_reads(channels, 'c/weights'), channels.root(
        np.concatenate([makes['a/weights'], makes['b/weights']])))


def test_flattened_channels_repeat_at_each_position():
    channels, makes = _channels(lambda net, x: net.fc('logits', net.conv('a', x, 4, 3), 10), size=2)
    np.testing.assert_array_equal(_reads(channels, 'logits/weights'),
                                  np.tile(channels.root(makes['a/weights']), 4))


def test_summed_channels_are_one_and_a_shortcut_pads_them():
    def build(net, x):
        x = net.conv('a', x, 4, 3)
        y = net.conv('b', x, 8, 3, stride=2)
        return _head(net, net.add('sum', net.shortcut('s', x, 8, 2), y))

    channels, makes = _channels(build)
    a, b = (channels.root(makes[name + '/weights']) for name in 'ab')
    np.testing.assert_array_equal(b[2:6], a)
    assert len(set(b)) == 8
    assert not channels.is_fixed(b).any()


def test_a_depthwise_convolution_keeps_channels():
    channels, makes = _channels(lambda net, x: _head(net, net.separable(
        'b', net.conv('a', x, 4, 3), 6, 3, norm=True)))
    for name in ('b/depthwise/weights', 'b/pointwise/weights'):
        np.testing.assert_array_equal(_reads(channels, name), channels.root(makes['a/weights']))


@pytest.mark.parametrize('build', [
    lambda net, x: net.lrn('n', x),  # reads the neighbours
    lambda net, x: tf.transpose(x, [0, 2, 1, 3]),  # not known here
    lambda net, x: x[..., ::-1],
    lambda net, x: tf.reduce_mean(x, 3, keepdims=True) + x])
def test_what_mixes_channels_fixes_them(build):
    channels, makes = _channels(lambda net, x: _head(net, build(net, net.conv('a', x, 4, 3))))
    assert channels.is_fixed(makes['a/weights']).all()


def test_weights_that_two_layers_share_are_fixed():
    def build(net, x):
        x = net.conv('a', x, 4, 3)
        weights = tf.get_variable('shared', [1, 1, 4, 4])
        for _ in range(2):
            x = tf.nn.conv2d(x, weights, [1, 1, 1, 1], 'SAME')
        return _head(net, x)

    channels, makes = _channels(build)
    assert channels.is_fixed(makes['shared']).all() and channels.is_fixed(makes['a/weights']).all()

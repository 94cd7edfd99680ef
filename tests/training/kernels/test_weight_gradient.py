"""The compiled gradient of weights: its sums."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.training.kernels import weight_gradient
from tests.training.kernels.helpers import compiled


@compiled
@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize('shape, size, filters', [
    ((3, 7, 7, 16), 3, 64), ((2, 8, 9, 20), 3, 70), ((300, 5, 6, 33), 3, 16),
    ((3, 9, 7, 6), 1, 130), ((5, 6, 8, 64), 2, 64), ((2, 12, 11, 67), 5, 65),
    ((1, 3, 3, 1), 3, 1), ((2, 40, 33, 18), 3, 64)])
def test_sums_are_those_of_float32(default_graph, padding, shape, size, filters):
    draw = np.random.RandomState(1).normal
    sides = [side - (size - 1) * (padding == 'VALID') for side in shape[1:3]]
    x = tf.cast(tf.constant(draw(size=shape)), tf.bfloat16)
    grad = tf.cast(tf.constant(draw(size=[shape[0], *sides, filters])), tf.bfloat16)
    weights = tf.zeros([size, size, shape[3], filters], tf.bfloat16)
    gradient = weight_gradient.of_weights(x, weights, grad, padding)
    assert gradient.shape == weights.shape and gradient.dtype == tf.float32
    expected = tf.raw_ops.Conv2DBackpropFilter(
        input=tf.cast(x, tf.float32), filter_sizes=tf.constant(weights.shape.as_list()),
        out_backprop=tf.cast(grad, tf.float32), strides=[1, 1, 1, 1], padding=padding)
    with tf.Session() as session:
        gradient, expected = session.run([gradient, expected])
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())


@compiled
def test_the_gradient_has_the_same_bits_each_time(default_graph):
    x = tf.cast(tf.random_normal([500, 7, 7, 16], seed=1), tf.bfloat16)
    gradient = weight_gradient.of_weights(x, tf.zeros([3, 3, 16, 16], tf.bfloat16), x, 'SAME')
    found = []
    for _ in range(3):
        with tf.Session() as session:
            found.append(session.run(gradient))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@compiled
def test_other_images_are_an_error_and_no_images_give_zeros(default_graph):
    x, grad = (tf.placeholder(tf.bfloat16, [None, 4, 4, channels]) for channels in (16, 64))
    gradient = weight_gradient.of_weights(x, tf.zeros([3, 3, 16, 64], tf.bfloat16), grad, 'SAME')
    with tf.Session() as session:
        with pytest.raises(tf.errors.InvalidArgumentError, match='of the same images expected'):
            session.run(gradient, {x: np.ones([2, 4, 4, 16]), grad: np.ones([3, 4, 4, 64])})
        zeros = session.run(gradient, {x: np.ones([0, 4, 4, 16]), grad: np.ones([0, 4, 4, 64])})
    np.testing.assert_array_equal(zeros, np.zeros([3, 3, 16, 64]))

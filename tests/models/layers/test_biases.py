"""Biases and their gradient."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers.biases import add_biases
from permafrost import engines

pytestmark = pytest.mark.usefixtures('default_graph')


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('shape', [(64, 31, 31, 24), (2, 5)])
def test_the_gradient_of_many_values_is_their_sum(dtype, shape):
    """Sums rounded to bfloat16 stop growing at 256 times their terms."""
    if dtype == 'bfloat16' and engines.installed() != 'tf2':
        pytest.skip('only tf2 has bfloat16')
    upstream = tf.cast(tf.constant(np.random.RandomState(1).uniform(size=shape)), dtype)
    biases = tf.constant(np.arange(shape[-1]), tf.float32)
    y = add_biases(tf.zeros(shape, dtype), biases)
    gradient, = tf.gradients(y, biases, upstream)
    assert (y.dtype, gradient.dtype) == (dtype, tf.float32)
    with tf.Session() as session:
        y, gradient, upstream = session.run([y[-1], gradient, tf.cast(upstream, tf.float32)])
    np.testing.assert_array_equal(y.astype(np.float32), np.broadcast_to(
        np.arange(shape[-1]), shape[1:]))
    expected = upstream.astype(np.float64).sum(tuple(range(len(shape) - 1)))
    np.testing.assert_allclose(gradient, expected, rtol=2 ** -8)

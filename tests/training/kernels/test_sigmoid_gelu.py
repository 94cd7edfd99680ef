"""The compiled sigmoid_gelu, against the one of TensorFlow's operations in float32."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers import activations
from permafrost.training.kernels.sigmoid_gelu import sigmoid_gelu
from tests.environment import needs_bfloat16
from tests.training.kernels.helpers import compiled

pytestmark = pytest.mark.usefixtures('default_graph')


@compiled
@pytest.mark.parametrize('dtype', [tf.bfloat16, tf.float32])
@pytest.mark.parametrize('shape', [(97,), (3, 5, 7, 24), (1,), (0, 4)])
def test_it_and_its_gradient_are_those_of_float32(shape, dtype):
    draw = np.random.RandomState(1).normal
    x, upstream = (tf.cast(tf.constant(draw(0, 4, shape)), each) for each in (dtype, tf.bfloat16))
    y = sigmoid_gelu(x, 'bfloat16')
    gradient, = tf.gradients(y, x, upstream)
    assert (y.op.type, gradient.op.type) == ('SigmoidGelu', 'SigmoidGeluGrad')
    assert (y.dtype, gradient.dtype) == (tf.bfloat16, dtype) and y.shape == gradient.shape == shape
    exact_x = tf.cast(x, tf.float32)
    exact = activations.sigmoid_gelu(exact_x)
    of_exact, = tf.gradients(exact, exact_x, tf.cast(upstream, tf.float32))
    with tf.Session() as session:
        y, gradient, exact, of_exact = session.run([y, gradient, exact, of_exact])
    np.testing.assert_allclose(y.astype(np.float32), exact, rtol=0.005, atol=1e-30)
    np.testing.assert_allclose(gradient.astype(np.float32), of_exact, rtol=0.005, atol=0.001)


@compiled
def test_large_numbers_and_nan():
    x = tf.constant([-np.inf, -1e30, -300., -0., 0., 300., 1e30, np.inf, np.nan], tf.bfloat16)
    y = sigmoid_gelu(x, 'bfloat16')
    with tf.Session() as session:
        y, gradient = (each.astype(np.float32) for each in session.run(
            [y, tf.gradients(y, x)[0]]))
    np.testing.assert_array_equal(y[1:5], [0, 0, 0, 0])
    np.testing.assert_allclose(y[5:8], [300, 1e30, np.inf], rtol=0.005)
    np.testing.assert_allclose(gradient[1:7], [0, 0, .5, .5, 1, 1], atol=0.005)
    assert np.isnan([y[0], y[8], gradient[8]]).all()  # y[0] as in TensorFlow: -inf * 0


@compiled
def test_memory_of_the_inputs_is_reused_only_when_nothing_reads_it():
    x, upstream = (tf.placeholder(tf.bfloat16, [None]) for _ in range(2))
    last_use = 2 * x, 2 * upstream  # tensors of the graph, not of the caller
    y = sigmoid_gelu(last_use[0], 'bfloat16')
    gradient, = tf.gradients(y, last_use[0], last_use[1])
    values = np.random.RandomState(1).normal(0, 2, [2, 100003])
    with tf.Session() as session:
        feed = dict(zip((x, upstream), values))
        alone = [session.run(each, feed) for each in (y, gradient)]
        together = session.run([y, gradient, *last_use], feed)
        expected = session.run([y, gradient], dict(zip(last_use, together[2:])))
    for found in alone, together:
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


@compiled
def test_gradients_of_another_shape_are_an_error():
    x = tf.placeholder(tf.bfloat16, [None])
    upstream = tf.placeholder(tf.bfloat16, [None])
    gradient, = tf.gradients(sigmoid_gelu(x, 'bfloat16'), x, upstream)
    with tf.Session() as session, pytest.raises(
            tf.errors.InvalidArgumentError, match='two tensors of one shape expected'):
        session.run(gradient, {x: np.ones(3), upstream: np.ones(4)})


@needs_bfloat16
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_outputs_in_float32_are_those_of_xla(dtype):
    y = sigmoid_gelu(tf.zeros([3], dtype), 'float32')
    assert y.dtype == tf.float32 and y.op.type != 'SigmoidGelu'

"""Compiled activations, against those of TensorFlow's operations."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers import activations, fused_activations
from models.layers.net import Net
from permafrost import engines
from tests.environment import needs_bfloat16

pytestmark = pytest.mark.usefixtures('default_graph')


def test_training_has_the_gradient_of_the_activation():
    """Also inside of tf.cond, where the networks of progressive resizing are."""
    x = tf.constant(np.linspace(-8, 8, 97).astype(np.float32))
    upstream = tf.constant(np.linspace(2, -1, 97).astype(np.float32))

    def activate_and_gradient():
        y = Net(training=True).activate('act', x, 'sigmoid_gelu')
        return y, tf.gradients(y, x, upstream)[0]

    in_branch = tf.cond(tf.placeholder_with_default(True, []), activate_and_gradient,
                        lambda: (tf.zeros_like(x), tf.zeros_like(x)))
    plain = activations.sigmoid_gelu(x)
    with tf.Session() as session:
        expected, *others = session.run([(plain, tf.gradients(plain, x, upstream)[0]),
                                         activate_and_gradient(), in_branch])
    for found in others:
        np.testing.assert_allclose(found, expected, atol=1e-5)


@needs_bfloat16
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_the_input_and_the_output_have_any_precision(dtype):
    x = tf.cast(tf.constant(np.linspace(-8, 8, 97), tf.float32), dtype)
    y = fused_activations.sigmoid_gelu(x, 'bfloat16')
    gradient, = tf.gradients(y, x)
    assert (y.dtype, gradient.dtype) == (tf.bfloat16, tf.as_dtype(dtype))
    exact_x = tf.cast(x, tf.float32)
    exact = activations.sigmoid_gelu(exact_x)
    pairs = [(y, exact), (gradient, tf.gradients(exact, exact_x)[0])]
    with tf.Session() as session:
        for found, expected in pairs:
            found, expected = session.run([tf.cast(found, tf.float32), expected])
            np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.001)


@needs_bfloat16
def test_the_relu_of_a_sum_of_casts_is_fused():
    """As a block of a ResNet has it; the sum is of float32, and so is the output."""
    values = np.random.RandomState(1).randn(3, 2, 4, 4, 8).astype(np.float32)
    x, y, upstream = (tf.cast(tf.constant(each), tf.bfloat16) for each in values)
    wide = tf.cast(x, tf.float32), tf.cast(y, tf.float32)
    net = Net(training=True, compute_dtype='bfloat16')
    z = net.activate('relu', net.add('add', *wide))
    expected = tf.nn.relu(sum(wide))
    assert z.dtype == tf.float32 and z.shape.as_list() == [2, 4, 4, 8]
    assert z.op.inputs[0].dtype == tf.bfloat16
    pairs = [(z, tf.cast(tf.cast(expected, tf.bfloat16), tf.float32))]
    exact = tf.gradients(expected, wide, tf.cast(upstream, tf.float32))
    pairs += zip(tf.gradients(z, [x, y], tf.cast(upstream, tf.float32)), exact)
    with tf.Session() as session:
        for found, value in pairs:
            np.testing.assert_array_equal(*session.run([tf.cast(found, tf.float32), value]))


@pytest.mark.skipif(engines.installed() != 'tf2', reason='TensorFlow 1.15 compiles nothing')
@pytest.mark.parametrize('gpus, calls', [([], 2), (['GPU:0'], 0)])
def test_a_gpu_compiles_nothing(monkeypatch, gpus, calls):
    """XLA would need CUDA's compiler there."""
    monkeypatch.setattr(tf.config.experimental, 'list_physical_devices', lambda kind: gpus)
    fused_activations._compiled.cache_clear()
    x = tf.constant(np.linspace(-8, 8, 97), tf.float32)
    tf.gradients(fused_activations.sigmoid_gelu(x, 'float32'), x)
    fused_activations._compiled.cache_clear()
    operations = [operation.type for operation in tf.get_default_graph().get_operations()]
    assert sum('PartitionedCall' in name for name in operations) == calls

"""Rounding of weights and activations in training, against NumPy."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from models.layers import fake_quant
from models.layers.fake_quant import FakeQuant
from models.layers.net import Net
from permafrost.recipes import catalog
from tests import networks
from tests.models.helpers import evaluate, randoms

pytestmark = pytest.mark.usefixtures('default_graph')


def rounded_weights(weights):
    """Return `weights` [..., channels] on the grids of -127 to 127 times a step."""
    steps = np.abs(weights).max(tuple(range(weights.ndim - 1))) / 127
    return np.round(weights / steps) * steps


def rounded(values, smallest, largest):
    """Return `values` on the grid of 256 values of the range, which has 0 on it."""
    step = (largest - smallest) / 255
    zero = np.round(-smallest / step)
    return (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step


def test_weights_have_a_grid_for_each_channel():
    weights = randoms(3, 3, 4, 5) * [1, 10, 0.1, 3, 1e-3]
    value, = evaluate(FakeQuant(training=False).weights(tf.constant(weights, tf.float32)))
    np.testing.assert_allclose(value, rounded_weights(weights), rtol=1e-5)
    # Batch normalization scales a channel: its numbers on the grid stay the same.
    scale = np.array([2, -1, 0.5, 7, 3])
    np.testing.assert_allclose(rounded_weights(value * scale), value * scale, rtol=1e-5)


def test_depthwise_weights_have_a_grid_for_each_channel():
    weights = randoms(3, 3, 4, 1)
    value, = evaluate(FakeQuant(training=False).depthwise_weights(tf.constant(weights)))
    expected = rounded_weights(weights.reshape(3, 3, 4)).reshape(weights.shape)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_training_rounds_activations_to_the_average_range_of_the_batches():
    batches = [randoms(2, 4) * scale for scale in (1, 5, 2)]
    batch, step = tf.placeholder(tf.float32, [2, 4]), tf.placeholder(tf.int64, [])
    y = FakeQuant(training=True, step=step).activations(batch)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    smallest = largest = 0.
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for number, values in enumerate(batches):
            value, _ = session.run([y, updates], {batch: values, step: number})
            smallest += (min(values.min(), 0) - smallest) / (number + 1)
            largest += (max(values.max(), 0) - largest) / (number + 1)
            np.testing.assert_allclose(value, rounded(values, smallest, largest), atol=1e-5)
        ends = {v.op.name: v for v in tf.global_variables()}
        assert sorted(ends) == ['inputs/activation_max', 'inputs/activation_min']
        np.testing.assert_allclose(
            session.run([ends['inputs/activation_min'], ends['inputs/activation_max']]),
            [smallest, largest], rtol=1e-5)


@pytest.mark.parametrize('first_step', [4.5, 5.])
def test_before_its_first_step_training_only_measures(first_step):
    step = tf.placeholder(tf.int64, [])
    quant = FakeQuant(training=True, step=step, first_step=first_step)
    x = tf.constant(randoms(2, 4))
    outputs = [quant.activations(x), quant.weights(x)]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for value in session.run(outputs, {step: 4}):
            np.testing.assert_array_equal(value, randoms(2, 4))
        activations, weights = session.run(outputs, {step: 5})
    np.testing.assert_allclose(weights, rounded_weights(randoms(2, 4)), rtol=1e-5)
    assert not np.array_equal(activations, randoms(2, 4))


def test_gradients_pass_through_the_rounding():
    quant = FakeQuant(training=True, step=tf.constant(0, tf.int64))
    x = tf.constant(randoms(2, 4))
    of_weights, of_activations = evaluate(*(
        tf.gradients(3. * y, x)[0] for y in (quant.weights(x), quant.activations(x))))
    np.testing.assert_allclose(of_weights, np.full((2, 4), 3.), rtol=1e-6)
    inside = np.abs(randoms(2, 4)) < 0.9 * np.abs(randoms(2, 4)).max()  # the largest may be clipped
    np.testing.assert_allclose(of_activations[inside], 3., rtol=1e-6)
    assert inside.sum() == 6


def test_inference_rounds_weights_and_collects_ranges():
    net = Net(training=False, fake_quant=FakeQuant(training=False))
    x = tf.constant(randoms(1, 4, 4, 3))
    y = net.fc('logits', net.conv('conv', x, 2, 3), 5, activation='linear')
    assert net.rounded(y) is y
    names = [(tensor.op.name, smallest.op.name) for tensor, smallest, _ in
             tf.get_collection(fake_quant.RANGES)]
    assert [name for name, _ in names] == ['Const', 'conv/Relu', 'logits/BiasAdd']
    assert [end.split('/activation')[0] for _, end in names] == ['inputs', 'conv', 'logits']


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=() if name in ('nin2', 'squeeze1') else pytest.mark.slow)
    for name in sorted(set(models.MODELS) - set(networks.DEEP))])
def test_training_and_inference_have_the_same_ranges(name):
    """Also where training has other operations, such as dropout."""
    found = []
    for training in (True, False):
        with tf.Graph().as_default():
            quant = FakeQuant(training, step=tf.constant(0, tf.int64))
            net = Net(training, step=tf.constant(0, tf.int64), fake_quant=quant)
            size = catalog.image_size(name)
            models.build(name, net, tf.zeros([4, size, size, 3]))
            found.append(sorted(v.op.name for v in tf.global_variables()))
    assert found[0] == found[1]
    assert any(name.endswith('activation_max') for name in found[0])

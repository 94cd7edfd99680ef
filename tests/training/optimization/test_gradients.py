"""Gradients while some variables are frozen, against those of TensorFlow."""

import itertools
import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.training.optimization.gradients import gradients

pytestmark = pytest.mark.usefixtures('default_graph')
NAMES = ('a', 'b', 'c', 'unused')


def network():
    """Return the variables and the loss of a network whose branches part and meet again."""
    a, b, c, unused = variables = [
        tf.get_variable(name, initializer=np.linspace(start + 0.2, 1.5, 3).astype(np.float32))
        for start, name in enumerate(NAMES)]
    x = tf.constant([0.3, -0.2, 0.5])
    hidden = tf.tanh(a * x)
    scaled = hidden * b
    total = hidden + scaled
    first, second = tf.split(tf.concat([total * c, tf.sigmoid(hidden)], 0), 2)
    loss = tf.reduce_sum(tf.square(first - second)) + 0.1 * tf.nn.l2_loss(a) + tf.nn.l2_loss(b)
    del unused
    return variables, loss


@pytest.mark.parametrize('frozen', [
    names for size in range(4) for names in itertools.combinations(NAMES[:3], size)], ids='-'.join)
def test_values_are_those_of_tensorflow_until_the_freeze_epoch(frozen):
    variables, loss = network()
    ends = {name: NAMES.index(name) + 1. if name in frozen else math.inf for name in NAMES}
    epoch = tf.placeholder(tf.float64, [])
    expected = tf.gradients(loss, variables[:3])
    *found, of_unused = gradients(loss, variables, ends, epoch)
    assert of_unused is None
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for at in (0., 0.9, 1., 2.5, 3., 9.):
            values, slopes = session.run([found, expected], {epoch: at})
            for name, value, slope in zip(NAMES, values, slopes):
                assert np.abs(slope).min() > 1e-4
                np.testing.assert_allclose(value, slope * (at < ends[name]), rtol=1e-6, atol=1e-7)


def test_a_frozen_variable_that_the_loss_does_not_need_has_a_gradient_of_zeros():
    variables, loss = network()
    ends = dict.fromkeys(NAMES, math.inf)
    *_, of_unused = gradients(loss, variables, dict(ends, unused=1.), tf.constant(0.))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(of_unused), np.zeros(3))

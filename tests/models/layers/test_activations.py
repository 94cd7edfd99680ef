"""Activations against the functions that define them."""

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers import activations
from models.layers.net import Net
from tests.models.helpers import evaluate, randoms

pytestmark = pytest.mark.usefixtures('default_graph')


EXPECTED = {
    'linear': lambda x: x,
    'relu': lambda x: max(x, 0),
    'celu': lambda x: max(0, x) + min(0, math.exp(x) - 1),
    'celu:0.3': lambda x: max(0, x) + min(0, 0.3 * (math.exp(x / 0.3) - 1)),
    'sigmoid_gelu': lambda x: x / (1 + math.exp(-1.702 * x)),
}


@pytest.mark.parametrize('name', EXPECTED)
def test_activations_are_what_defines_them(name):
    x = np.linspace(-6, 6, 49).astype(np.float32).reshape(1, 49)
    net = Net(training=False)
    y, = evaluate(net.activate('act', tf.constant(x), name))
    np.testing.assert_allclose(y[0], [EXPECTED[name](float(v)) for v in x[0]], atol=2e-6)
    if name == 'sigmoid_gelu':  # close to x * P(a standard normal is below x)
        gelu = [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x[0]]
        np.testing.assert_allclose(y[0], gelu, atol=0.021)


def test_every_activation_is_tested():
    assert {name.split(':')[0] for name in EXPECTED} == set(activations.ACTIVATIONS)
    with pytest.raises(ValueError, match='unknown activation'):
        activations.get_activation('swish')


@pytest.mark.parametrize('activation', ['celu:0.3', 'sigmoid_gelu'])
def test_convolutions_have_the_activation_of_the_net(activation):
    net = Net(training=False)
    net.activation = activation
    x = tf.constant(randoms(1, 4, 4, 3))
    y = net.conv('a', x, 5, 3)
    plain = net.conv('b', x, 5, 3, activation='linear')
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        a, b = [v for v in tf.global_variables() if 'weights' in v.name]
        b.load(session.run(a), session)
        activated, linear = session.run([y, plain])
    np.testing.assert_allclose(
        activated.ravel(), [EXPECTED[activation](float(v)) for v in linear.ravel()], atol=1e-5)

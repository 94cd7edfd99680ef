"""Convolutions that compute only what the pool after them reads."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers.net import Net
from tests.models.helpers import randoms

pytestmark = pytest.mark.usefixtures('default_graph')


@pytest.mark.parametrize('shape, size, multiple', [
    ((2, 15, 15, 8), 3, 2), ((2, 15, 15, 8), 3, 4), ((1, 7, 9, 4), 5, 2), ((2, 8, 7, 3), 2, 3),
    ((1, 7, 7, 3), 1, 2), ((2, 6, 6, 3), 3, 2)])
def test_conv_leaves_out_what_a_pool_would_drop(shape, size, multiple):
    """Values and gradients are those of all outputs, cut off; only the sizes of sums differ."""
    x = tf.constant(randoms(*shape))
    net = Net(training=False)
    with tf.variable_scope('', reuse=tf.AUTO_REUSE):
        whole = net.conv('a', x, 6, size, bias=False)
        part = net.conv('a', x, 6, size, bias=False, multiple_of=multiple)
    height, width = (side // multiple * multiple for side in shape[1:3])
    weights, = tf.trainable_variables()
    outputs = []
    for y in (whole[:, :height, :width], part):
        slopes = tf.random.stateless_normal([shape[0], height, width, 6], [1, 2])
        outputs.append([y, *tf.gradients(y * slopes, [x, weights])])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        expected, values = session.run(outputs)
    assert net.layers[1].output_shape == (height, width, 6) == values[0].shape[1:]
    assert net.layers[1].macs == weights.shape.num_elements() * height * width
    for value, other in zip(values, expected):
        np.testing.assert_allclose(value, other, rtol=1e-5, atol=1e-5)


def test_all_outputs_are_computed_where_padding_is_slow():
    x = tf.constant(randoms(2, 15, 15, 8))
    net = Net(training=False, compute_unread_outputs=True)
    assert net.conv('a', x, 6, 3, multiple_of=2).shape.as_list() == [2, 15, 15, 6]
    assert not [op for op in x.graph.get_operations() if op.type == 'Pad']


@pytest.mark.parametrize('stride, padding', [(2, 'SAME'), (1, 'VALID')])
def test_other_strides_and_paddings_are_refused(stride, padding):
    net = Net(training=False, padding=padding)
    with pytest.raises(ValueError, match='multiple_of needs a stride of 1 and padding SAME'):
        net.conv('a', tf.constant(randoms(1, 7, 7, 2)), 4, 3, stride=stride, multiple_of=2)

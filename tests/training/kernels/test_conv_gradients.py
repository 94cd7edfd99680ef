"""Gradients of convolutions one after the other, against those of TensorFlow."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.recipes import overrides
from permafrost.training import graph
from permafrost.training.kernels import conv_gradients
from tests.training.kernels.helpers import compiled

OVERRIDE = {'Conv2D': conv_gradients.NAME}


@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize('size', [1, 3, 5])
@pytest.mark.parametrize('side', [7, 9])
@pytest.mark.parametrize('channels', [8, 128])
def test_gradients_are_those_of_tensorflow(default_graph, padding, size, side, channels):
    draw = np.random.RandomState(1).normal
    x = tf.constant(draw(size=[12, side, side - 1, channels]).astype(np.float32))
    weights = tf.constant(draw(size=[size, size, channels, 128]).astype(np.float32))
    found = []
    for override in ({}, OVERRIDE):
        with tf.get_default_graph().gradient_override_map(override):
            y = tf.nn.conv2d(x, weights, [1, 1, 1, 1], padding)
        found += tf.gradients(tf.nn.l2_loss(y), [x, weights])
    with tf.Session() as session:
        expected_x, expected_weights, of_x, of_weights = session.run(found)
    np.testing.assert_allclose(of_x, expected_x, rtol=1e-4, atol=1e-2)
    scale = np.abs(expected_weights).max()
    np.testing.assert_allclose(of_weights, expected_weights, atol=1e-5 * scale)


def test_the_two_gradients_run_one_after_the_other_and_only_if_they_are_needed(default_graph):
    x = tf.Variable(np.ones([4, 7, 7, 8], np.float32))
    weights = tf.Variable(np.ones([3, 3, 8, 8], np.float32))
    with tf.get_default_graph().gradient_override_map(OVERRIDE):
        y = tf.nn.conv2d(x, weights, [1, 1, 1, 1], 'SAME')
    of_x, of_weights = tf.gradients(tf.nn.l2_loss(y), [x, weights])
    assert of_weights.op.inputs[2].op.control_inputs == [of_x.op]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for fetches, expected in ([of_weights], 'Filter'), ([of_x, of_weights], 'Filter Input'):
            metadata = tf.RunMetadata()
            session.run(fetches, options=tf.RunOptions(trace_level=tf.RunOptions.SOFTWARE_TRACE),
                        run_metadata=metadata)
            labels = ' '.join(node.timeline_label for device in metadata.step_stats.dev_stats
                              for node in device.node_stats)
            assert [name for name in ('Filter', 'Input') if f'Conv2DBackprop{name}(' in labels
                    ] == expected.split(), fetches


@compiled
@pytest.mark.parametrize('channels, filters, name', [
    (64, 64, 'Conv2DWeightGradient'), (8, 64, 'Conv2DBackpropFilter'),
    (64, 16, 'Conv2DBackpropFilter')])
def test_the_gradient_of_variables_uses_the_fastest_kernel(default_graph, channels, filters, name):
    draw = np.random.RandomState(1).normal
    x = tf.cast(tf.constant(draw(size=[4, 9, 9, channels])), tf.bfloat16)
    weights = tf.get_variable('weights', [3, 3, channels, filters])
    found = []
    for override in ({}, OVERRIDE):
        with tf.get_default_graph().gradient_override_map(override):
            y = tf.nn.conv2d(x, tf.cast(weights, tf.bfloat16), [1, 1, 1, 1], 'SAME')
        found += tf.gradients(tf.nn.l2_loss(tf.cast(y, tf.float32)), weights)
    assert [each.dtype for each in found] == [tf.float32] * 2
    types = [op.type for op in tf.get_default_graph().get_operations()]
    assert types.count(name) == (2 if name == 'Conv2DBackpropFilter' else 1)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        expected, gradient = session.run(found)
    # TensorFlow's kernel rounds its result to bfloat16.
    np.testing.assert_allclose(gradient, expected, atol=.005 * np.abs(expected).max())


@compiled
@pytest.mark.parametrize('dtype, expected', [('bfloat16', True), ('float32', False)])
def test_training_in_bfloat16_uses_it(default_graph, dtype, expected):
    recipe = overrides.get_recipe('sprint', ['compute_dtype=' + dtype])
    graph.build_train_graph(Config(model='sprint', recipe=recipe, steps=1), 10,
                            tf.zeros([4, 32, 32, 3]), tf.zeros([4], tf.int64))
    types = [op.type for op in tf.get_default_graph().get_operations()]
    assert ('Conv2DWeightGradient' in types) == expected

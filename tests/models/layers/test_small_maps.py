"""Gradients of convolutions of small maps, against those of TensorFlow."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers import small_maps


@pytest.mark.parametrize('batch_size, width, gap, count', [
    (500, 7, 1, 4), (500, 3, 1, 20), (1000, 6, 1, 4), (500, 4, 1, 5), (128, 8, 1, 8),
    (500, 9, 1, 1), (7, 7, 1, 7), (13, 3, 1, 13), (500, 7, 0, 1), (None, 7, 1, 1)])
def test_rows_of_maps_fill_tiles(batch_size, width, gap, count):
    assert small_maps.maps_in_a_row(batch_size, width, gap) == count


def test_maps_are_followed_by_zeros(default_graph):
    x = np.arange(1., 4 * 2 * 2 * 3 + 1).reshape([4, 2, 2, 3])
    with tf.Session() as session:
        row = session.run(small_maps.side_by_side(tf.constant(x), 2, 1))
    assert row.shape == (2, 2, 6, 3)
    for index, image in enumerate(x):
        first = 3 * (index // 2)
        np.testing.assert_array_equal(row[index % 2, :, first:first + 2], image)
        np.testing.assert_array_equal(row[index % 2, :, first + 2], 0)


@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize('size', [1, 3, 5])
@pytest.mark.parametrize('side', [7, 9])
@pytest.mark.parametrize('channels', [8, 128])
def test_gradients_are_those_of_tensorflow(default_graph, padding, size, side, channels):
    draw = np.random.RandomState(1).normal
    x = tf.constant(draw(size=[12, side, side - 1, channels]).astype(np.float32))
    weights = tf.constant(draw(size=[size, size, channels, 128]).astype(np.float32))
    found = []
    for override in ({}, small_maps.OVERRIDE):
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
    with tf.get_default_graph().gradient_override_map(small_maps.OVERRIDE):
        y = tf.nn.conv2d(x, weights, [1, 1, 1, 1], 'SAME')
    of_x, of_weights = tf.gradients(tf.nn.l2_loss(y), [x, weights])
    assert of_weights.op.control_inputs == [of_x.op]
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

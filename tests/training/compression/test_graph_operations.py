"""The order of operations, and where their parameters are."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.training.compression import graph_operations


def test_each_operation_comes_after_its_inputs_and_once(default_graph):
    x = tf.placeholder(tf.float32, [2])
    y = tf.nn.relu(x)
    end = tf.add(tf.multiply(x, y), y)
    tf.identity(end, name='not_needed')
    order = graph_operations.in_order(end.op)
    assert len(order) == len(set(order)) == 4 and order[-1] is end.op
    for number, operation in enumerate(order):
        assert {tensor.op for tensor in operation.inputs} <= set(order[:number])


def test_a_parameter_is_found_through_reads(default_graph):
    variable = tf.get_variable('v', [2])
    assert graph_operations.source(tf.identity(variable.read_value())) == 'v'
    x = tf.placeholder(tf.float32, [2], name='x')
    assert graph_operations.source(tf.identity(tf.constant([1.], name='c'))) == 'c'
    assert graph_operations.source(tf.identity(x, name='y')) == 'y'  # is computed


@pytest.mark.parametrize('axes, expected', [
    ([1, 2], True), ([1], True), ([-2], True), ([3], False), ([0, 1], False), ([-1], False)])
def test_means_over_positions_are_told_from_others(axes, expected, default_graph):
    x = tf.placeholder(tf.float32, [None, 4, 4, 3])
    mean = tf.reduce_mean(x, axes).op
    np.testing.assert_array_equal(graph_operations.constant(mean, 1), axes)
    assert graph_operations.is_over_positions(mean) == expected
    assert graph_operations.constant(mean, 0) is None

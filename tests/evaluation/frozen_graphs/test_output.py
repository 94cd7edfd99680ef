"""The meaning of what graphs of others return."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.nodes import Nodes
from permafrost.evaluation.frozen_graphs.output import Output, find_source_op
from tests.evaluation.frozen_graphs.helpers import build, images


def read(values, function=None, kind=None):
    """Return what `values` mean that a graph returns whose last operation `function` makes."""
    def network():
        tf.identity((function or tf.identity)(images('x', shape=(None, 3))), name='y')
    output = Output('a.pb', Nodes('x', 'y'), find_source_op(build(network), 'y'), kind)
    values = np.array(values)
    return output, output.read(values, len(values))


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize('function, kind', [(tf.nn.softmax, None), (lambda x: 2 * x, None),
                                            (tf.nn.relu, None), (None, 'softmax')])
def test_probabilities_are_used_as_they_are(function, kind):
    probabilities = np.array([[0.2, 0.3, 0.5], [1, 0, 0]], np.float32)
    output, logits = read(probabilities, function, kind)
    assert output.kind == 'softmax' and output.has_probabilities
    np.testing.assert_allclose(softmax(logits), probabilities, atol=1e-6)


@pytest.mark.parametrize('function, kind', [
    (lambda x: tf.matmul(x, tf.eye(3)), None), (lambda x: 2 * x, None),
    (tf.nn.log_softmax, None), (None, 'logits')])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_logits_stay_logits(function, kind, dtype):
    output, logits = read(np.array([[-1, 2, 3.]], dtype), function, kind)
    assert output.kind == 'logits' and output.has_probabilities
    np.testing.assert_array_equal(logits, [[-1, 2, 3]])
    four = read(np.array([[[[-1, 2, 3.]]]], dtype), function, kind)[1]
    np.testing.assert_array_equal(four, logits)


def test_sigmoids_are_not_made_a_softmax():
    output, scores = read([[0.9, 0.8, 0.1]], tf.nn.sigmoid)
    assert output.kind == 'sigmoid' and not output.has_probabilities
    np.testing.assert_allclose(scores, [[0.9, 0.8, 0.1]], rtol=1e-6)


@pytest.mark.parametrize('value, function, kind, probability', [
    (0.8, tf.nn.sigmoid, None, 0.8), (0.8, None, 'sigmoid', 0.8), (2., None, 'logits', 0.880797)])
def test_one_column_is_the_probability_of_the_second_class(value, function, kind, probability):
    output, logits = read([[value]], function, kind)
    assert output.has_probabilities
    np.testing.assert_allclose(softmax(logits), [[1 - probability, probability]], rtol=1e-5)


def test_a_softmax_in_int8_may_sum_to_less_than_1():
    values = np.array([[255, 0, 0], [254, 0, 0]], np.float32) / 256
    output, logits = read(values, None, 'softmax')
    assert output.kind == 'softmax' and (logits.argmax(1) == 0).all()
    with pytest.raises(UserError, match='that sum to 1'):
        read(values - np.float32([.01, 0, 0]), None, 'softmax')
    with pytest.raises(UserError, match='does not say what'):  # not without being told
        read(values, tf.nn.relu)


@pytest.mark.parametrize('values, function, kind, message', [
    ([[np.nan, 1]], None, None, r'returns NaN \(column 0\)'),
    ([[0, np.inf]], None, 'raw', r'returns infinity \(column 1\)'),
    ([[0.4]], tf.nn.softmax, None, 'softmax of one column'),
    ([[0.4]], None, None, 'does not say what its output .* means, 1 number by .*--output_kind'),
    ([[0.4, 0.9]], lambda x: 1 / x, None, 'does not say what'),  # maybe a sigmoid
    ([[3., 9.]], tf.nn.relu, None, 'does not say what'),
    ([[0.4, 0.9]], None, 'softmax', 'that sum to 1'),
    ([[0.4, 1.9]], None, 'sigmoid', 'from 0 to 1'),
    ([[[1., 2], [3, 4]]], None, None, 'not a row of floats for each'),
    ([[1, 2]], None, None, 'returns int64')])
def test_what_cannot_be_read_is_one_line(values, function, kind, message):
    with pytest.raises(UserError, match=message):
        read(values, function, kind)


@pytest.mark.parametrize('name, is_own, kind', [
    ('predictions', True, 'logits'), ('probabilities', True, 'softmax'),
    ('predictions', False, 'softmax')])
def test_predictions_are_logits_where_uint8_images_are_fed(name, is_own, kind):
    output = Output('a.tflite', Nodes('images', name, is_own=is_own), '')
    output.read(np.array([[0.2, 0.3, 0.5]]), 1)
    assert output.kind == kind


def test_an_operation_that_is_not_known_is_not_named():
    output = Output('a.tflite', Nodes('x', 'y'), '')
    with pytest.raises(UserError, match="its output 'y' means, 2 numbers: give --output_kind"):
        output.read(np.array([[2., 3.]]), 1)
    exported = Output('a.tflite', Nodes('images', 'y', is_own=True), '')
    exported.read(np.array([[2., 3.]]), 1)
    assert exported.kind == 'logits'


def test_rows_of_another_width_are_refused():
    output, _ = read([[1., 2.]] * 3, kind='raw')
    with pytest.raises(UserError, match="node 'y' returns rows of 2 numbers, then of 3"):
        output.read(np.ones((4, 3)), 4)

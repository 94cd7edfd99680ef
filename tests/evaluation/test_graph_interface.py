"""Nodes, preprocessing and meaning of graphs that others made: found, stated, or asked for."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError, UserError
from permafrost.evaluation.graph_interface import (
    Nodes, Output, Preprocessing, class_names, feed_constants, find_nodes)


def build(function):
    """Return the GraphDef of the nodes that `function` creates."""
    with tf.Graph().as_default() as graph:
        function()
    return graph.as_graph_def()


def nodes_of(function, *names):
    return find_nodes(build(function), 'a.pb', *names)


def images(name='x', dtype=tf.float32, shape=(None, 4, 4, 3)):
    return tf.placeholder(dtype, shape, name=name)


def test_the_only_placeholder_and_the_only_output_are_found():
    def network():
        logits = tf.reduce_mean(images(), [1, 2], name='mean')
        tf.nn.softmax(logits, name='answer')
        tf.argmax(logits, 1, name='best')
        tf.placeholder(tf.float32, [None], name='unused')
    assert nodes_of(network) == Nodes('x', 'answer')
    assert nodes_of(network, 'x:0', 'mean:0') == Nodes('x', 'mean')


def test_an_index_stands_for_what_it_reads():
    def network():
        tf.argmax(tf.reduce_mean(images(), [1, 2], name='mean'), 1, name='predictions')
    assert nodes_of(network).output == 'mean'
    with pytest.raises(UserError, match='index of a class alone .ArgMax.*--output mean'):
        nodes_of(network, None, 'predictions')


def test_questions_name_the_candidates():
    def network():
        both = images('a') + images('b')
        tf.reduce_mean(both, [1, 2], name='one')
        tf.reduce_sum(both, [1, 2], name='two')
    assert nodes_of(network).questions == (
        '--node NAME (candidates: a, b)', '--output NAME (candidates: one, two)')
    assert nodes_of(network, 'a', 'one').questions == ('--feed b=VALUE',)
    assert nodes_of(lambda: tf.constant(1., name='c')).questions == (
        '--node NAME (candidates: none)', '--output NAME (candidates: none)')


def test_other_placeholders_are_named_unless_they_have_defaults():
    def network():
        keep = tf.placeholder(tf.float32, [], name='keep_prob')
        training = tf.placeholder_with_default(1., [], name='training')
        tf.reduce_mean(images() * keep * training, [1, 2], name='y')
    found = nodes_of(network)
    assert (found.input, found.output) == ('x', 'y')
    assert found.questions == ('--feed keep_prob=VALUE',) and found.defaults == ('training',)
    fed = feed_constants(build(network), 'a.pb', ['keep_prob=0.5', 'training:0=2'])
    assert find_nodes(fed, 'a.pb') == Nodes('x', 'y')
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(fed, name='')
        np.testing.assert_array_equal(session.run('y:0', {'x:0': np.full((1, 4, 4, 3), 3.)}), 3)


@pytest.mark.parametrize('feed, message', [
    ('keep_prob', 'NAME=VALUE'), ('x=1', 'one number or bool'), ('keep=1', 'no placeholder'),
    ('keep_prob=much', 'must be a number'), ('training=2', 'true or false'),
    ('steps=1.5', 'an integer')])
def test_values_that_do_not_fit_a_placeholder_are_refused(feed, message):
    def network():
        images()
        for name, dtype in (('keep_prob', tf.float32), ('training', tf.bool), ('steps', tf.int32)):
            tf.placeholder(dtype, [], name=name)
    with pytest.raises(UserError, match=message):
        feed_constants(build(network), 'a.pb', [feed])


def test_variables_are_not_frozen():
    def network():
        variable = tf.Variable(tf.ones([3]), use_resource=False, name='w')
        tf.multiply(tf.reduce_mean(images(), [1, 2]), variable, name='y')
    with pytest.raises(UserError, match="not frozen.*VariableV2 'w'.*freeze_graph"):
        nodes_of(network)


@pytest.mark.parametrize('name, message', [
    ('x:1', 'only the first output'), ('z', "no node 'z'")])
def test_wrong_names_are_refused(name, message):
    with pytest.raises(UserError, match=message):
        nodes_of(images, name)


def test_preprocessing_equals_numpy():
    pixels = np.random.RandomState(0).randint(0, 256, (2, 5, 5, 3)).astype(np.uint8)
    pixels[1] = 7  # a single colour
    np.testing.assert_array_equal(Preprocessing('none').apply(pixels), pixels.astype(np.float32))
    np.testing.assert_allclose(Preprocessing(None, '1,2,3', '4').apply(pixels),
                               (pixels - np.array([1., 2, 3])) / 4, rtol=1e-6)
    standard = Preprocessing('per_image').apply(pixels)
    np.testing.assert_allclose(
        standard[0], (pixels[0] - pixels[0].mean()) / pixels[0].std(), atol=1e-5)
    np.testing.assert_array_equal(standard[1], 0)
    assert str(Preprocessing(None, '128', None)) == '(x - 128) / 1'
    assert str(Preprocessing(None, '1,2,3', '4,4,4')) == '(x - [1, 2, 3]) / 4'
    assert not Preprocessing().is_stated and Preprocessing('none').is_stated


@pytest.mark.parametrize('flags, message', [
    (('all',), 'per_image or none'), (('none', '1'), 'either'), ((None, 'x'), 'must be a number'),
    ((None, '1,2'), 'three'), ((None, '0', '0'), 'above 0'), ((None, 'nan'), 'must be a number')])
def test_wrong_preprocessing_is_a_usage_error(flags, message):
    with pytest.raises(UsageError, match=message):
        Preprocessing(*flags)


def read(values, function=None, kind=None):
    """Return what `values` mean that a graph returns whose last operation `function` makes."""
    def network():
        tf.identity((function or tf.identity)(images('x', shape=(None, 3))), name='y')
    output = Output(build(network), 'a.pb', Nodes('x', 'y'), kind)
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


def test_class_names_come_from_the_graph_or_a_file(tmp_path):
    graph = build(lambda: tf.constant(['a', 'ö'], name='labels'))
    assert class_names(graph, 'a.pb', None) == ['a', 'ö']
    (tmp_path / 'labels.txt').write_bytes('\ufeffä\r\n\nb\n'.encode())
    assert class_names(graph, 'a.pb', str(tmp_path / 'labels.txt')) == ['ä', 'b']
    assert class_names(tf.GraphDef(), 'a.pb', None) == []
    with pytest.raises(UserError, match='none.txt: No such file'):
        class_names(graph, 'a.pb', str(tmp_path / 'none.txt'))

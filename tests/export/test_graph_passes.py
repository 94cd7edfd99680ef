"""Graph passes fold batch normalization and strip defaults, and results stay the same."""

import hashlib
import os
import zlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.evaluation import inference_graph
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.export import freeze, graph_passes, layer_counts
from permafrost.recipes import overrides
from tests import networks
from tests.environment import needs_bfloat16
from tests.export.helpers import logits_of, read_json
from tests.processes import ROOT

# Written by TensorFlow 2.21; remove a model's line, run the test, and it says what to write.
SHA256 = read_json(os.path.join(ROOT, 'tests', 'fixtures', 'frozen_sha256.json'))


def _random(*shape):
    return np.random.RandomState(len(shape) + sum(shape)).randn(*shape).astype(np.float32)


def _norm(x, name):
    channels = x.shape[-1]
    return tf.nn.fused_batch_norm(
        x, _random(channels, 1)[:, 0], _random(channels, 2)[:, 0], _random(channels, 3)[:, 0],
        np.abs(_random(channels, 4)[:, 0]) + 0.1, 1e-3, is_training=False, name=name)[0]


def _fold(build):
    """Fold the graph that `build(x)` makes; check its output and return its operation types."""
    x_value = _random(2, 6, 6, 4)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        x = tf.placeholder(tf.float32, x_value.shape, name='images')
        tf.identity(build(x), name='probabilities')
        expected = session.run('probabilities:0', {x: x_value})
    result = graph_passes.fold_batch_norm(graph_passes.remove_identities(graph.as_graph_def()))
    outputs = logits_of(result, x_value, 'probabilities')
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    types = layer_counts.op_types(result)
    assert not [t for t in types if 'BatchNorm' in t]
    return types


def _conv(x, filters=5):
    return tf.nn.conv2d(x, _random(3, 3, x.shape.as_list()[-1], filters), [1, 1, 1, 1], 'SAME')


def test_folds_into_a_convolution():
    types = _fold(lambda x: tf.nn.relu(_norm(_conv(x), 'bn')))
    assert types == {'Placeholder': 1, 'Conv2D': 1, 'BiasAdd': 1, 'Relu': 1, 'Const': 2}


def test_folds_into_a_convolution_with_a_bias():
    types = _fold(lambda x: _norm(tf.nn.bias_add(_conv(x), _random(5)), 'bn'))
    assert types == {'Placeholder': 1, 'Conv2D': 1, 'BiasAdd': 1, 'Const': 2}


def test_folds_into_a_depthwise_convolution():
    types = _fold(lambda x: _norm(tf.nn.depthwise_conv2d(
        x, _random(3, 3, 4, 2), [1, 1, 1, 1], 'SAME'), 'bn'))
    assert types == {'Placeholder': 1, 'DepthwiseConv2dNative': 1, 'BiasAdd': 1, 'Const': 2}


def test_folds_two_normalizations():
    assert _fold(lambda x: _norm(_conv(tf.nn.relu(_norm(_conv(x), 'a')), 3), 'b')) == {
        'Placeholder': 1, 'Conv2D': 2, 'BiasAdd': 2, 'Relu': 1, 'Const': 4}


def _positive(x, name):
    channels = x.shape[-1]
    return tf.nn.fused_batch_norm(
        x, np.ones(channels, np.float32), _random(channels, 2)[:, 0], _random(channels, 3)[:, 0],
        np.abs(_random(channels, 4)[:, 0]) + 0.1, 1e-3, is_training=False, name=name)[0]


def test_folds_through_a_pool_if_no_scale_is_negative():
    types = _fold(lambda x: tf.nn.relu(_positive(tf.nn.max_pool(_conv(x), 2, 2, 'SAME'), 'bn')))
    assert types == {'Placeholder': 1, 'Conv2D': 1, 'MaxPool': 1, 'BiasAdd': 1, 'Relu': 1,
                     'Const': 2}
    types = _fold(lambda x: _positive(tf.nn.max_pool(
        tf.nn.bias_add(_conv(x), _random(5)), 2, 2, 'SAME'), 'bn'))
    assert types == {'Placeholder': 1, 'Conv2D': 1, 'MaxPool': 1, 'BiasAdd': 2, 'Const': 3}


def test_folds_into_a_matrix_product():
    def build(x):
        rows = tf.matmul(tf.reshape(x, [-1, 144]), _random(144, 7))
        return tf.reshape(_norm(tf.reshape(rows, [-1, 1, 1, 7]), 'bn'), [-1, 7])
    types = _fold(build)
    assert types['MatMul'] == types['BiasAdd'] == 1 and 'Mul' not in types


def _shared(x):
    y = _conv(x)
    return _norm(y, 'bn') + y


def _same_weights(x):
    weights = tf.constant(_random(3, 3, 4, 4))
    y = tf.nn.relu(_norm(tf.nn.conv2d(x, weights, [1, 1, 1, 1], 'SAME'), 'a'))
    return _norm(tf.nn.conv2d(y, weights, [1, 1, 1, 1], 'SAME'), 'b')


@pytest.mark.parametrize('build, count', [
    (lambda x: _norm(x, 'bn'), 1),
    (lambda x: _norm(tf.nn.max_pool(_conv(x), 2, 2, 'SAME'), 'bn'), 1),
    (_shared, 1), (_same_weights, 2)])
def test_multiplies_without_a_layer_of_its_own(build, count):
    assert _fold(build)['Mul'] == count


def test_preprocessing_stays_in_float32():
    """In bfloat16, luma of 128 to 255 would be rounded to whole numbers."""
    with tf.Graph().as_default() as graph:
        luma = tf.nn.conv2d(tf.placeholder(tf.float32, [1, 8, 8, 3], name='images'),
                            tf.ones([1, 1, 3, 1]), 1, 'SAME')
        tf.identity(_conv(tf.concat([tf.identity(luma, name='inputs')] * 4, 3)),
                    name='predictions')
    types = [node.attr['T'].type for node in graph_passes.convolve_in_bfloat16(
        graph.as_graph_def()).node if node.op == 'Conv2D']
    assert sorted(types) == [tf.float32.as_datatype_enum, tf.bfloat16.as_datatype_enum]


@needs_bfloat16
def test_convolutions_and_products_in_bfloat16_are_near_those_in_float32():
    x_value = _random(2, 6, 6, 4)
    with tf.Graph().as_default() as graph, tf.Session() as session:
        x = tf.placeholder(tf.float32, x_value.shape, name='images')
        y = tf.matmul(tf.reshape(tf.nn.relu(_conv(x)), [2, -1]), _random(180, 3))
        tf.identity(y, name='probabilities')
        expected = session.run('probabilities:0', {x: x_value})
    result = graph_passes.convolve_in_bfloat16(graph.as_graph_def())
    types = [node.attr['T'].type for node in result.node if node.op in ('Conv2D', 'MatMul')]
    assert types == [tf.bfloat16.as_datatype_enum] * 2
    found = logits_of(result, x_value, 'probabilities')
    assert found.dtype == np.float32 and not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_default_attributes_are_stripped(file):
    with tf.Graph().as_default() as imported:
        # A second copy: importing adds defaults to the nodes.
        tf.import_graph_def(graph_def.read_graph(file), name='')
    for node in graph_def.read_graph(file).node:
        op_def = imported.get_operation_by_name(node.name).op_def
        for attribute in op_def.attr:
            if attribute.HasField('default_value') and attribute.name in node.attr:
                assert node.attr[attribute.name] != attribute.default_value, node
        assert not [name for name in node.attr if name.startswith('_')]
        # Every attribute that TF 1.15 requires is present.
        assert set(node.attr) >= {a.name for a in op_def.attr if not a.HasField('default_value')}


def test_attributes_that_tf_2_adds_are_stripped():
    """TF 2.21 adds attributes, with their defaults, that TF 1.15 does not have."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 8, 8, 4])
        tf.nn.max_pool(x, 2, 2, 'SAME')
        tf.nn.depthwise_conv2d(x, tf.ones([3, 3, 4, 2]), [1, 1, 1, 1], 'SAME')
        tf.nn.conv2d(x, tf.ones([3, 3, 4, 2]), [1, 2, 2, 1], 'VALID', dilations=[1, 1, 1, 1])
        tf.matmul(tf.ones([2, 3]), tf.ones([2, 3]), transpose_b=True)
        stripped = graph_passes.strip_default_attrs(graph.as_graph_def())
    attributes = {node.op: set(node.attr) for node in stripped.node}
    assert attributes['MaxPool'] == {'ksize', 'strides', 'padding'}
    assert attributes['DepthwiseConv2dNative'] == {'T', 'strides', 'padding'}
    assert attributes['Conv2D'] == {'T', 'strides', 'padding'}
    assert attributes['MatMul'] == {'T', 'transpose_b'}


def frozen_sha256(name):
    """Return the sha256 of the frozen graph of a model whose variables follow from their names."""
    classes = list('abcdefghij')
    config = Config(name, overrides.get_recipe('tutorial', ['image_size=32']), 1)
    with tf.Graph().as_default(), tf.Session() as session:
        inference_graph.build_inference_graph(config, classes, (32, 32, 3))
        for variable in tf.global_variables():
            random = np.random.RandomState(zlib.crc32(variable.op.name.encode()))
            variable.load(random.uniform(.1, 1., variable.shape.as_list()).astype(np.float32),
                          session)
        graph = freeze.freeze_session(session, classes)
    return hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()


FEW = ('davidnet', 'lenet5', 'resnet20', 'sprint')  # what engines once wrote differently


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=() if name in FEW else pytest.mark.slow)
    for name in sorted(networks.models.MODELS)])
def test_all_engines_write_the_same_bytes(name):
    assert frozen_sha256(name) == SHA256.get(name)

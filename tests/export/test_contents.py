"""What is in a frozen graph."""

import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import registry
from permafrost.evaluation import graph_def
from permafrost.export import graph_passes, layer_counts
from tests import networks
from tests.export.graphs import logits_of, some_images, untrained

UNFIT = re.compile('Queue|Switch|Merge|Assign|Variable|VarHandle|Random|Dropout|BatchNorm|Reader|'
                   'Iterator|Restore|Save|PyFunc|Identity|NoOp')
PUBLISHED_BYTES = {'tuto': 4278750, 'alex4': 5979938, 'nin2': 3881548, 'squeeze1': 602892}


@pytest.mark.parametrize('name', networks.EVERY + ['normed'])
def test_every_model_freezes_to_what_eval_runs(name, synthetic):
    images = some_images(synthetic, 8)
    with networks.registered():
        graph, expected = untrained(name, images)
    types = layer_counts.op_types(graph)
    assert set(types) <= graph_passes.ALLOWED_OPS and not [t for t in types if UNFIT.search(t)]
    assert types['Placeholder'] == 1
    assert not graph.library.function and graph.versions.producer <= 134
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(logits_of(graph, images) / scale, expected / scale, atol=1e-5)
    chances = logits_of(graph, images, 'probabilities')
    shifted = np.exp(expected - expected.max(1, keepdims=True))
    np.testing.assert_allclose(chances, shifted / shifted.sum(1, keepdims=True), atol=1e-5)
    nodes = {node.name: node for node in graph.node}
    assert nodes['images'].attr['dtype'].type == tf.uint8.as_datatype_enum
    assert [d.size for d in nodes['images'].attr['shape'].shape.dim] == [-1, 32, 32, 3]
    assert [label.decode() for label in nodes['labels'].attr['value'].tensor.string_val] == list(
        registry.CIFAR10_CLASSES)


def test_the_whole_image_without_crop(synthetic):
    images = some_images(synthetic, 8)
    graph, expected = untrained('cs231n', images, 'plain')
    np.testing.assert_allclose(logits_of(graph, images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', sorted(PUBLISHED_BYTES))
def test_no_larger_than_published(name, synthetic):
    graph, _ = untrained(name, some_images(synthetic, 1))
    assert graph.ByteSize() <= PUBLISHED_BYTES[name]


def test_nodes_are_few(synthetic):
    """Preprocessing in eleven operations, then one node an operation of the network."""
    graph, _ = untrained('tuto', some_images(synthetic, 1))
    computing = [node.op for node in graph.node if node.op not in ('Const', 'Placeholder')]
    assert len(computing) <= 11 + 2 * 3 + 2 * 2 + 1 + 2 * 3 + 2 + 1, computing


def test_inputs_can_be_fed(file, synthetic):
    images = some_images(synthetic)
    pixels = logits_of(file, images, 'inputs')
    assert pixels.shape == (64, 24, 24, 3)
    np.testing.assert_allclose(pixels.mean((1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(pixels.std((1, 2, 3)), 1, atol=1e-4)
    np.testing.assert_allclose(logits_of(file, pixels, feed='inputs'), logits_of(file, images),
                               rtol=1e-5, atol=1e-5)


def test_answers_of_nin2_are_deterministic(synthetic):
    images = some_images(synthetic, 8)
    graph, _ = untrained('nin2', images)
    np.testing.assert_array_equal(logits_of(graph, images), logits_of(graph, images))


def test_default_attributes_are_stripped(file):
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph_def.read_graph(file), name='')  # which adds defaults to what it is given
    for node in graph_def.read_graph(file).node:
        op_def = imported.get_operation_by_name(node.name).op_def
        for attribute in op_def.attr:
            if attribute.HasField('default_value') and attribute.name in node.attr:
                assert node.attr[attribute.name] != attribute.default_value, node
        assert not [name for name in node.attr if name.startswith('_')]
        # All that TF 1.15 requires is there.
        assert set(node.attr) >= {a.name for a in op_def.attr if not a.HasField('default_value')}


def test_strip_in_general():
    """What 2.21 adds to a node that 1.15 has not: attributes with their defaults."""
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

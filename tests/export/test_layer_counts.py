"""Parameters and operations of frozen graphs, as info.py counts them."""

import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from models.layers.net import Net
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.experiments import model_info
from permafrost.export import layer_counts
from permafrost.recipes import catalog
from tests import networks
from tests.evaluation.helpers import foreign_graph
from tests.export.helpers import some_images, untrained

# Layers that are one operation of a frozen graph, with what completes it.
PLAIN_LAYERS = {'conv', 'fc', 'max_pool', 'lrn', 'dropout', 'concat', 'global_avg_pool'}


def test_a_foreign_graph_is_counted(tmp_path):
    graph, _ = foreign_graph()
    path = tmp_path / 'a.pb'
    path.write_bytes(graph.SerializeToString())
    size = model_info.measure_graph(str(path))
    macs = 24 * 24 * 8 * 5 * 5 * 3, 12 * 12 * 8 * 10  # of the convolution and of the product
    assert size['params'] == 5 * 5 * 3 * 8 + 8 + 12 * 12 * 8 * 10
    assert size['macs'] == sum(macs)
    assert size['ops'] == 2 * sum(macs) + 24 * 24 * 8 * (1 + 2)  # the bias and the ReLU
    assert size['bytes'] == graph.ByteSize() and size['op_types']['RandomShuffleQueueV2'] == 1
    assert not size['not_counted'] and size['layers'][0]['name'] == 'conv1'


@pytest.mark.parametrize('name', networks.EVERY + ['normed'])
def test_counts_of_a_frozen_graph_are_those_of_its_model(name, synthetic):
    with networks.registered():
        graph, _ = untrained(name, some_images(synthetic, 1))
        size = 24 if name == 'normed' else catalog.image_size(name)
        expected = model_info.measure_model(name, size)
        with tf.Graph().as_default():
            models.build(name, Net(training=False), tf.placeholder(tf.float32, [None, 32, 32, 3]))
            folded = sum(v.shape.num_elements() for v in tf.trainable_variables()
                         if v.op.name.endswith('gamma'))
    layers, uncounted = layer_counts.count_layers(graph)
    assert not uncounted
    for count in ('ops', 'macs'):
        assert sum(getattr(layer, count) for layer in layers) == expected[count]
    scalars = sum(node.op == 'Const' and not node.attr['value'].tensor.tensor_shape.dim
                  for node in graph.node)  # of activations and scales
    params = sum(layer.params for layer in layers)
    assert 0 <= params - (expected['params'] - folded) <= scalars
    if set(layer['kind'] for layer in expected['layers']) <= PLAIN_LAYERS and not folded:
        counted = [layer for layer in expected['layers'] if layer['ops']]
        assert [(layer.name, layer.ops) for layer in layers if layer.ops] == [
            (layer['name'], layer['ops']) for layer in counted]


def test_counts_agree_with_the_profiler_of_tensorflow(synthetic):
    """tf.profiler counts 2 per multiply-accumulate and 1 per bias as we do, but no ReLU and no lrn
    (ours: 2 and 36), and it counts pooling, softmax and preprocessing, which are free here."""
    graph, _ = untrained('tuto', some_images(synthetic, 1))
    with tf.Graph().as_default() as imported:
        images = tf.placeholder(tf.uint8, [1, 32, 32, 3])  # it cannot count an unknown batch
        tf.import_graph_def(graph, {'images:0': images}, name='')
        options = tf.profiler.ProfileOptionBuilder(
            tf.profiler.ProfileOptionBuilder.float_operation()).with_empty_output().order_by(
                'float_ops').build()
        options['account_type_regexes'] = ['^(Conv2D|MatMul|BiasAdd)$']
        profiled = tf.profiler.profile(imported, cmd='op', options=options).total_float_ops
        elements = {'Relu': 0, 'LRN': 0}
        for op in imported.get_operations():
            if op.type in ('Relu', 'LRN'):
                elements[op.type] += op.outputs[0].shape.num_elements()
    ops = sum(layer.ops for layer in layer_counts.count_layers(graph)[0])
    assert ops == profiled + 2 * elements['Relu'] + 36 * elements['LRN']


def test_unknown_operations_and_shapes_are_shown_as_unknown(file, tmp_path, capsys):
    graph = graph_def.read_graph(file)
    for node in graph.node:
        if node.op == 'MaxPool':
            node.op = 'LearnedPool'
    path = str(tmp_path / 'odd.pb')
    with open(path, 'wb') as stream:
        stream.write(graph.SerializeToString())
    size = model_info.measure_graph(path)
    assert size['params'] == model_info.measure_model('squeeze1', 24)['params']
    assert size['op_types']['LearnedPool'] == 2 and 'LearnedPool' in size['not_counted']
    model_info.show_graph(path)
    text = capsys.readouterr().out
    assert 'LearnedPool' in text and 'not counted: ' in text and '?' in text


def test_a_frozen_graph_is_shown_as_text_and_json(file, capsys):
    model_info.show_graph(file)
    text = capsys.readouterr().out
    assert 'total' in text and '146,570' in text and '22,836,024' in text
    assert f'{os.path.getsize(file):,} bytes' in text and '14 Conv2D' in text
    model_info.show_graph(file, as_json=True)
    size, = json.loads(capsys.readouterr().out)
    assert size['ops'] == 22836024 and size['bytes'] == os.path.getsize(file)


def test_weights_that_layers_share_are_counted_once():
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 5])
        weights = tf.constant(np.ones([5, 5], np.float32))
        tf.matmul(tf.matmul(x, weights), weights)
    layers, _ = layer_counts.count_layers(graph.as_graph_def())
    assert [layer.params for layer in layers] == [25, 0]
    assert layer_counts.totals(layers) == {'params': 25, 'ops': 100, 'macs': 50}


@pytest.mark.parametrize('batch', [None, 1])
def test_a_product_on_maps_is_counted_at_each_position(batch):
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [batch, 4, 4, 3], name='images')
        y = tf.nn.bias_add(tf.matmul(tf.reshape(x, [-1, 3]), tf.ones([3, 5])), tf.zeros([5]))
        tf.nn.softmax(tf.reshape(y, [-1, 80]), name='predictions')
    layers, _ = layer_counts.count_layers(graph.as_graph_def())
    assert layer_counts.totals(layers) == {'params': 20, 'ops': 2 * 240 + 80, 'macs': 240}


def test_a_fixed_batch_is_counted_for_one_image():
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [8, 5])
        tf.matmul(x, tf.ones([5, 3]))
    layers, _ = layer_counts.count_layers(graph.as_graph_def())
    assert layer_counts.totals(layers)['macs'] == 15


def test_operations_on_scalars_and_vectors_are_counted():
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [1, 5])
        scale = tf.math.rsqrt(tf.ones([5]) * tf.subtract(2., tf.constant(1.)))
        tf.multiply(x, scale)
    layers, not_counted = layer_counts.count_layers(graph.as_graph_def())
    assert not not_counted and layer_counts.totals(layers)['ops'] == 1 + 5 + 5 + 5


def test_zeros_are_counted_among_weights_alone():
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 2, 2, 3])
        y = tf.nn.conv2d(x, tf.constant([[[[1.], [0.], [0.]]]]), 1, 'SAME')
        y = tf.nn.bias_add(y, tf.constant([0.]))
        tf.matmul(tf.reshape(y, [-1, 4]), tf.constant([[1.], [0.], [2.], [3.]]))
    assert layer_counts.sparsity(graph.as_graph_def()) == pytest.approx(3 / 7)
    assert layer_counts.sparsity(tf.GraphDef()) == 0


@pytest.mark.parametrize('shape, ops', [
    ([None, None, None, None], 5 * 5 * 3), ([None, None, None, 3], 5 * 5 * 3),
    ([None, 4, 4, 3], 4 * 4 * 3), ([None, 3, None, None], 5 * 5 * 3)])
def test_images_have_the_size_that_is_given_if_the_graph_takes_any(shape, ops):
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, shape, name='images')
        y = tf.reduce_mean(tf.nn.relu(x), [1, 2, 3], keepdims=True)
        tf.nn.softmax(tf.matmul(tf.reshape(y, [-1, 1]), tf.ones([1, 10])), name='predictions')
    layers, _ = layer_counts.count_layers(graph.as_graph_def(), image_size=5)
    assert [layer.ops for layer in layers if layer.name == 'Relu'] == [2 * ops]


def test_an_empty_constant_has_no_params():
    with tf.Graph().as_default() as graph:
        tf.concat([tf.constant([1., 2.]), tf.constant([], tf.float32)], 0)
    layers, _ = layer_counts.count_layers(graph.as_graph_def())
    assert layer_counts.totals(layers)['params'] == 2

"""Parameters and operations of frozen graphs, as info.py counts them."""

import json
import os
import subprocess

import pytest
import tensorflow.compat.v1 as tf

import models
from models.layers.net import Net
from permafrost.evaluation import graph_def
from permafrost.experiments import model_info
from permafrost.export import layer_counts
from permafrost.recipes import catalog, overrides
from tests import networks, processes
from tests.export.graphs import some_images, untrained

# Layers that are one operation of a frozen graph, with what completes it.
PLAIN = {'conv', 'fc', 'max_pool', 'lrn', 'dropout', 'concat', 'global_avg_pool'}


def test_what_others_froze_is_counted(third_party):
    size, published = model_info.measure_graph(third_party), model_info.measure_model('squeeze1', 24)
    assert [size[count] for count in model_info.COUNTS] == [published[count] for count in model_info.COUNTS]
    assert size['bytes'] == 602892 and size['op_types']['RandomShuffleQueueV2'] == 1
    assert not size['not_counted'] and size['layers'][0]['name'] == 'conv1/conv'


@pytest.mark.parametrize('name', networks.EVERY + ['normed'])
def test_counts_of_the_frozen_are_those_of_the_model(name, synthetic):
    with networks.registered():
        graph, _ = untrained(name, some_images(synthetic, 1))
        expected = model_info.measure_model(name, overrides.get_recipe(catalog.default_recipe(name)).image_size)
        with tf.Graph().as_default():
            models.build(name, Net(training=False), tf.placeholder(tf.float32, [None, 32, 32, 3]))
            gone = sum(v.shape.num_elements() for v in tf.trainable_variables()
                       if v.op.name.endswith('gamma'))  # folded
    layers, unknown = layer_counts.count_layers(graph)
    assert not unknown
    for count in ('ops', 'macs'):
        assert sum(getattr(layer, count) for layer in layers) == expected[count]
    numbers = sum(node.op == 'Const' and not node.attr['value'].tensor.tensor_shape.dim
                  for node in graph.node)  # of activations and scales
    assert 0 <= sum(layer.params for layer in layers) - (expected['params'] - gone) <= numbers
    if set(layer['kind'] for layer in expected['layers']) <= PLAIN and not gone:
        counted = [layer for layer in expected['layers'] if layer['ops']]
        assert [(layer.name, layer.ops) for layer in layers if layer.ops] == [
            (layer['name'], layer['ops']) for layer in counted]


def test_counts_against_tensorflows_profiler(synthetic):
    """tf.profiler has 2 per multiply-accumulate and 1 per bias as we have, but nothing for ReLU
    and lrn (ours: 2 and 36), and counts pooling, softmax and preprocessing, free here."""
    graph, _ = untrained('tuto', some_images(synthetic, 1))
    with tf.Graph().as_default() as imported:
        images = tf.placeholder(tf.uint8, [1, 32, 32, 3])  # it cannot count an unknown batch
        tf.import_graph_def(graph, {'images:0': images}, name='')
        options = tf.profiler.ProfileOptionBuilder(
            tf.profiler.ProfileOptionBuilder.float_operation()).with_empty_output().order_by(
                'float_ops').build()
        options['account_type_regexes'] = ['^(Conv2D|MatMul|BiasAdd)$']
        theirs = tf.profiler.profile(imported, cmd='op', options=options).total_float_ops
        elements = {'Relu': 0, 'LRN': 0}
        for op in imported.get_operations():
            if op.type in ('Relu', 'LRN'):
                elements[op.type] += op.outputs[0].shape.num_elements()
    ours = sum(layer.ops for layer in layer_counts.count_layers(graph)[0])
    assert ours == theirs + 2 * elements['Relu'] + 36 * elements['LRN']


def test_info_of_any_graph(file, tmp_path):
    """Unknown operations and shapes show as unknown."""
    graph = graph_def.read_graph(file)
    for node in graph.node:
        if node.op == 'MaxPool':
            node.op = 'LearnedPool'
    path = tmp_path / 'odd.pb'
    path.write_bytes(graph.SerializeToString())
    text = processes.finish(processes.command('info.py', '--graph=%s' % path))
    assert 'LearnedPool' in text and 'not counted: ' in text and '?' in text
    size = model_info.measure_graph(str(path))
    assert size['params'] == model_info.measure_model('squeeze1', 24)['params']
    assert size['op_types']['LearnedPool'] == 2 and 'LearnedPool' in size['not_counted']
    text = processes.finish(processes.command('info.py', '--graph=' + file))
    assert 'total' in text and '146,570' in text and '22,836,024' in text
    assert '{:,} bytes'.format(os.path.getsize(file)) in text and '14 Conv2D' in text


def test_info_as_json(file):
    done = subprocess.run(processes.command('info.py', '--graph=' + file, '--json'),
                          stdout=subprocess.PIPE, universal_newlines=True)
    size, = json.loads(done.stdout)
    assert size['ops'] == 22836024 and size['bytes'] == os.path.getsize(file)

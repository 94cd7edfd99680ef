"""The part of a frozen graph that converters receive."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.export.conversion import network
from tests.export.helpers import logits_of, some_images, untrained


def test_what_preprocesses_has_names_of_its_own_and_the_logits_are_the_same(file, synthetic):
    graph, images = graph_def.read_graph(file), some_images(synthetic, 8)
    part = network.extract(graph, 'images')
    np.testing.assert_array_equal(logits_of(part, images), logits_of(graph, images))
    names = {node.name: node for node in part.node}
    assert not {'probabilities', 'labels'} & set(names)
    inside = {name for name in names if network.is_preprocessing(name)}
    expected = {node.name for node in graph_def.extract_subgraph(graph, ['inputs']).node}
    assert {name.replace(network.PREPROCESSING, '') for name in inside} == expected - {'images'}
    assert [d.size for d in names['images'].attr['shape'].shape.dim] == [-1, 32, 32, 3]


def test_a_network_alone_is_fed_preprocessed_floats(file):
    graph = graph_def.read_graph(file)
    part = network.extract(graph, 'inputs')
    placeholder, = [node for node in part.node if node.op == 'Placeholder']
    assert placeholder.name == 'inputs'
    assert placeholder.attr['dtype'].type == tf.float32.as_datatype_enum
    assert [d.size for d in placeholder.attr['shape'].shape.dim] == [-1, 24, 24, 3]
    assert not any(network.is_preprocessing(node.name) for node in part.node
                   if node.name != 'inputs')
    inputs = np.random.RandomState(1).standard_normal((2, 24, 24, 3))
    np.testing.assert_array_equal(*(logits_of(each, inputs, feed='inputs')
                                    for each in (graph, part)))


def test_floats_are_cropped_to_the_same_pixels(file, synthetic):
    part = network.extract(graph_def.read_graph(file), 'images')
    of_floats = network.crop_floats(part)
    crop, = [node for node in of_floats.node if node.op == 'StridedSlice']
    assert crop.attr['T'].type == tf.float32.as_datatype_enum
    images = some_images(synthetic, 8)
    np.testing.assert_array_equal(*(logits_of(each, images, crop.name)
                                    for each in (of_floats, part)))
    assert {node.name for node in of_floats.node} == {node.name for node in part.node}


def test_a_graph_without_a_crop_remains_as_it_is(synthetic):
    graph, _ = untrained('sprint', some_images(synthetic, 8), 'sprint')
    part = network.extract(graph, 'images')
    assert network.crop_floats(part) == part


def test_a_graph_of_someone_else_is_refused_in_one_line():
    graph = tf.GraphDef()
    graph.node.add(name='images', op='Placeholder')
    with pytest.raises(UserError, match='x.pb has no node inputs, predictions, probabilities: '):
        network.extract(graph, 'images', 'x.pb')
    with tf.Graph().as_default() as any_rank:
        images = tf.placeholder(tf.uint8, None, name='images')
        inputs = tf.cast(images, tf.float32, name='inputs')
        tf.nn.softmax(tf.identity(inputs, name='predictions'), name='probabilities')
    with pytest.raises(UserError, match="x.pb: node 'images' is not a batch of images"):
        network.extract(any_rank.as_graph_def(), 'images', 'x.pb')

"""Nodes of graphs that others made: found, named, or asked for."""

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.nodes import Nodes, find_nodes, output_shape, output_type
from tests.evaluation.frozen_graphs.helpers import build, images


def nodes_of(function, *names):
    return find_nodes(build(function), 'a.pb', *names)


def test_the_only_placeholder_and_the_only_output_are_found():
    def network():
        logits = tf.reduce_mean(images(), [1, 2], name='mean')
        tf.nn.softmax(logits, name='answer')
        tf.argmax(logits, 1, name='best')
        tf.placeholder(tf.float32, [None], name='unused')
    assert nodes_of(network) == Nodes('x', 'answer')
    assert nodes_of(network, 'x:0', 'mean:0') == Nodes('x', 'mean')


@pytest.mark.parametrize('dtype', [tf.uint8, tf.float32])
def test_only_graphs_that_are_fed_uint8_images_are_ours(dtype):
    def network():
        pixels = tf.cast(images('images', dtype), tf.float32)
        tf.reduce_mean(pixels, [1, 2], name='predictions')
    assert nodes_of(network) == Nodes('images', 'predictions', is_own=dtype == tf.uint8)


def test_an_index_stands_for_what_it_reads():
    def network():
        tf.argmax(tf.reduce_mean(images(), [1, 2], name='mean'), 1, name='predictions')
    assert nodes_of(network).output == 'mean'
    with pytest.raises(UserError, match='only a class index .ArgMax.*--output mean'):
        nodes_of(network, None, 'predictions')


def test_questions_name_the_candidates():
    def network():
        both = images('a') + images('b')
        tf.reduce_mean(both, [1, 2], name='one')
        tf.reduce_sum(both, [1, 2], name='two')
    assert nodes_of(network).missing_flags == (
        '--node NAME (candidates: a, b)', '--output NAME (candidates: one, two)')
    with pytest.raises(UserError, match="needs placeholder 'b' too, which is not one number or"):
        nodes_of(network, 'a', 'one')
    assert nodes_of(lambda: tf.constant(1., name='c')).missing_flags == (
        '--node NAME (candidates: none)', '--output NAME (candidates: none)')


def test_of_two_outputs_the_one_counts_of_which_an_index_is_the_largest():
    def network():
        logits = tf.reduce_mean(images(), [1, 2], name='logits')
        tf.nn.softmax(logits, name='main')
        tf.argmax(logits, 1, name='classes')
        tf.nn.softmax(2 * logits, name='auxiliary')
    assert nodes_of(network) == Nodes('x', 'main')


def test_switches_of_training_and_dropout_are_assumed():
    def network():
        keep = tf.placeholder(tf.float32, name='keep_prob')
        drop = tf.placeholder_with_default(0.5, [], name='dropout')
        training = tf.placeholder_with_default(True, [], name='is_training')
        factor = keep + drop + tf.cast(training, tf.float32)
        tf.reduce_mean(images() * factor, [1, 2], name='y')
    assert nodes_of(network) == Nodes(
        'x', 'y', assumed=('dropout=0', 'is_training=false', 'keep_prob=1'))


def test_encoded_images_are_fed_after_their_decoder():
    def network():
        pixels = tf.io.decode_jpeg(tf.placeholder(tf.string, [], name='bytes'), 3, name='decoded')
        tf.reduce_mean(tf.cast(pixels[None], tf.float32), [1, 2], name='y')
    assert nodes_of(network) == nodes_of(network, 'bytes') == Nodes('decoded', 'y')
    decoder = next(node for node in build(network).node if node.name == 'decoded')
    assert (output_type(decoder), output_shape(decoder)) == (tf.uint8, [None, None, 3])
    decoder.attr['channels'].i = 4  # else: grey images of width 4
    assert output_shape(decoder) == [None, None, None, 4]


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

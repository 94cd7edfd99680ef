"""Nodes of graphs that others made: found, named, or asked for."""

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.nodes import Nodes, find_nodes
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

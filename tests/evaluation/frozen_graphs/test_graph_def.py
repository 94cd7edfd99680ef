"""Frozen graphs of any origin: read, cut and imported, or refused with one line."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from tests.evaluation.helpers import foreign_graph


@pytest.mark.parametrize('content, message', [
    (None, 'cannot read .*No such file'), (b'', 'is empty'),
    (b'{"not": "a graph"}', 'is not a'), (b'\x89PNG\r\n\x1a\n', 'is not a frozen graph')])
def test_a_file_without_a_graph_is_refused(content, message, tmp_path):
    path = tmp_path / 'a.pb'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        graph_def.read_graph(str(path))
    assert '\n' not in str(error.value)


def test_a_truncated_file_is_refused(tmp_path):
    content = foreign_graph()[0].SerializeToString()
    for length in (len(content) // 2, len(content) - 3):
        (tmp_path / 'a.pb').write_bytes(content[:length])
        with pytest.raises(UserError, match='is not a frozen graph'):
            graph_def.read_graph(str(tmp_path / 'a.pb'))


def test_nodes_upstream_of_a_feed_are_removed():
    graph = graph_def.extract_subgraph(foreign_graph()[0], ['predictions'], ['inputs'])
    types = {node.name: node.op for node in graph.node}
    assert types['inputs'] == 'Placeholder' and 'predictions' in types
    assert not [op for op in types.values() if 'Queue' in op]
    assert 'images' not in types


def test_a_text_that_is_nested_too_deeply_is_one_line(tmp_path):
    path, depth = str(tmp_path / 'a.pbtxt'), 2000
    with open(path, 'w') as stream:
        stream.write('node {\n' + depth * 'attr { key: "a" value { func { ')
        stream.write(depth * '} } }' + '}\n')
    with pytest.raises(UserError, match='a.pbtxt is damaged: .*: write it again'):
        graph_def.read_graph(path)


def test_a_missing_node_is_named():
    graph = foreign_graph()[0]
    damaged = tf.GraphDef(node=[node for node in graph.node if node.name != 'conv1/biases'])
    with pytest.raises(UserError, match="node is missing .*'conv1/biases'"):
        graph_def.extract_subgraph(damaged, ['predictions'], ['inputs'])


def test_an_unknown_operation_is_one_line():
    graph = graph_def.extract_subgraph(foreign_graph()[0], ['predictions'], ['inputs'])
    next(node for node in graph.node if node.op == 'Relu').op = 'Rleu'
    with tf.Graph().as_default(), pytest.raises(UserError, match='not allowed in inference.*Rleu'):
        graph_def.import_graph(graph)


@pytest.mark.parametrize('value, dtype, expected', [
    (np.array([[.5, 1.]], np.float32), None, 'float32'), (np.array([1, 2]), None, 'int64'),
    ([.1, 2], tf.float32, 'float32'), (np.float32(3), tf.float32, 'float32')])
def test_a_constant_has_the_value_that_it_was_made_of(value, dtype, expected):
    node = graph_def.const('a/b', value, dtype)
    assert (node.name, node.op, sorted(node.attr)) == ('a/b', 'Const', ['dtype', 'value'])
    assert tf.as_dtype(node.attr['dtype'].type).name == graph_def.value_of(node).dtype == expected
    np.testing.assert_array_equal(graph_def.value_of(node), np.array(value, expected))


@pytest.mark.parametrize('allow_any_op', [False, True])
def test_a_negative_size_is_one_line(allow_any_op):
    """TensorFlow 2.21 infers it, and raises ValueError when the shape is read."""
    graph = tf.GraphDef()
    graph.node.add(name='images', op='Placeholder').attr['dtype'].type = 1
    graph.node[0].attr['shape'].shape.CopyFrom(tf.TensorShape([None, 8, 8, 3]).as_proto())
    graph.node.append(graph_def.const('size', [-2, -1], tf.int32))
    resized = graph.node.add(name='predictions', op='ResizeNearestNeighbor',
                             input=['images', 'size'])
    resized.attr['T'].type = 1
    with tf.Graph().as_default(), pytest.raises(UserError, match='cannot load g.pb: '):
        graph_def.import_graph(graph, name='g.pb', allow_any_op=allow_any_op)

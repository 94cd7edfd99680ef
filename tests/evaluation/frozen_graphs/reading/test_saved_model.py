"""SavedModels: variables become constants, calls become nodes, and nothing else runs."""

import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import saved_model_pb2

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.nodes import find_nodes
from permafrost.evaluation.frozen_graphs.reading.saved_model import read_saved_model

WEIGHTS = np.random.RandomState(2).randn(3, 10).astype(np.float32)
IMAGES = np.random.RandomState(3).rand(2, 4, 4, 3).astype(np.float32)


def save(path, change=lambda: None, use_resource=False):
    """Save a classifier with a variable; `change` may add something."""
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, 4, 4, 3], name='x')
        weights = tf.get_variable('w', initializer=WEIGHTS, use_resource=use_resource)
        logits = tf.matmul(tf.reduce_mean(images, [1, 2]), weights, name='y')
        tf.constant(['n'] * 10, name='labels')
        session.run(tf.global_variables_initializer())
        change()
        tf.saved_model.simple_save(session, path, {'x': images}, {'y': logits})


def answer(graph):
    nodes = find_nodes(graph, 'a')
    with tf.Graph().as_default(), tf.Session() as session:
        graph_def.import_graph(graph)
        return session.run(nodes.output + ':0', {nodes.input + ':0': IMAGES})


@pytest.mark.parametrize('as_text', [False, True])
def test_variables_become_constants(tmp_path, as_text):
    path = str(tmp_path / 'saved')
    save(path)
    if as_text:
        from google.protobuf import text_format
        from tensorflow.core.protobuf import saved_model_pb2
        saved = saved_model_pb2.SavedModel.FromString(
            (tmp_path / 'saved' / 'saved_model.pb').read_bytes())
        (tmp_path / 'saved' / 'saved_model.pb').unlink()
        (tmp_path / 'saved' / 'saved_model.pbtxt').write_text(text_format.MessageToString(saved))
    graph = graph_def.read_graph(path)
    np.testing.assert_allclose(answer(graph), IMAGES.mean((1, 2)) @ WEIGHTS, atol=1e-5)
    assert 'labels' in {node.name for node in graph.node}


def test_functions_become_nodes(tmp_path):
    path = str(tmp_path / 'saved')
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, 4, 4, 3], name='x')
        weights = tf.get_variable('w', initializer=WEIGHTS, use_resource=True)
        classify = tf.function(lambda x: tf.nn.softmax(tf.matmul(tf.reduce_mean(x, [1, 2]),
                                                                 weights)), autograph=False)
        scores = classify(images)
        session.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(session, path, {'x': images}, {'y': scores})
    graph = read_saved_model(path)
    assert not graph.library.function
    powers = np.exp(IMAGES.mean((1, 2)) @ WEIGHTS)
    np.testing.assert_allclose(answer(graph), powers / powers.sum(1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize('use_resource, trapped', [
    (False, ''), (False, 'w'), (True, 'w'), (True, 'w/Read/ReadVariableOp')])
def test_restoring_and_reading_runs_nothing_else(use_resource, trapped, tmp_path):
    """`trapped` is the node that writes a file before it runs; '': the one that restores."""
    path = str(tmp_path / 'saved')

    def write():
        with tf.control_dependencies([tf.io.write_file(str(tmp_path / 'written'), 'x')]):
            tf.no_op(name='trap')

    save(path, write, use_resource)
    from tensorflow.core.protobuf import saved_model_pb2
    file = tmp_path / 'saved' / 'saved_model.pb'
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    meta = saved.meta_graphs[0]
    node, = [node for node in meta.graph_def.node
             if node.name == (trapped or meta.saver_def.restore_op_name)]
    node.input.append('^trap')
    file.write_bytes(saved.SerializeToString())
    with pytest.raises(UserError, match='would run WriteFile'):
        read_saved_model(path)
    assert not (tmp_path / 'written').exists()


def test_what_is_no_model_for_serving_is_one_line(tmp_path):
    (tmp_path / 'saved_model.pb').write_bytes(b'\x0a\xff')
    with pytest.raises(UserError, match='is damaged'):
        read_saved_model(str(tmp_path))
    (tmp_path / 'saved_model.pb').write_bytes(b'')
    with pytest.raises(UserError, match="has 0 graphs with the tag 'serve'"):
        read_saved_model(str(tmp_path))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(str(tmp_path / 'saved_model.pb'))
    with pytest.raises(UserError, match='saved_model.pb .not a regular file'):
        read_saved_model(str(tmp_path))


def test_an_output_that_is_missing_is_one_line(tmp_path):
    path = str(tmp_path / 'saved')
    save(path)
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / 'saved/saved_model.pb').read_bytes())
    for output in saved.meta_graphs[0].signature_def['serving_default'].outputs.values():
        output.name = 'missing:0'
    (tmp_path / 'saved/saved_model.pb').write_bytes(saved.SerializeToString())
    with pytest.raises(UserError, match='cannot load the SavedModel .*missing'):
        read_saved_model(path)


def test_a_copy_without_its_variables_is_one_line(tmp_path):
    save(str(tmp_path / 'saved'))
    shutil.rmtree(str(tmp_path / 'saved/variables'))
    with pytest.raises(UserError, match='variables: No such file or directory: copy the whole'):
        read_saved_model(str(tmp_path / 'saved'))

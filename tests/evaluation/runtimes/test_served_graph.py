"""Frozen graphs in another runtime: read, checked and cut as for TensorFlow."""

import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.runtimes import client
from permafrost.evaluation.runtimes.served_graph import ServedGraph
from tests import in_process
from tests.label_image.program import softmax, write_graph

IMAGES = np.random.RandomState(5).randint(0, 256, (3, 8, 8, 3)).astype(np.uint8)


def _written(path, function=tf.identity):
    def network():
        pixels = tf.placeholder(tf.float32, [None, 8, 8, 3], name='x')
        tf.write_file('a.txt', 'another part of the graph', name='other')
        keep = tf.placeholder(tf.float32, [], name='keep_prob')
        tf.matmul(function(tf.reduce_mean(pixels, [1, 2])) * keep, np.eye(3, dtype=np.float32),
                  name='y')
    return write_graph(path, network)


def test_the_child_receives_what_is_needed_and_constants(tmp_path, monkeypatch):
    received = []

    def predict(child, path, fed, batch_size, output):
        received.append(graph_def.read_graph(path))
        return fed.mean((1, 2))
    monkeypatch.setattr(client, 'predict', predict)
    child = types.SimpleNamespace(folder=str(tmp_path))
    model = ServedGraph(child, _written(tmp_path / 'a.pb'))
    probabilities = model.probabilities(None, IMAGES)
    np.testing.assert_allclose(probabilities, softmax(IMAGES.mean((1, 2))), rtol=1e-4)
    ops = {node.name: node.op for node in received[0].node}
    assert ops['keep_prob'] == 'Const' and 'other' not in ops and ops['x'] == 'Placeholder'
    assert model.describe()[-1] == 'assumed: keep_prob=1 (--feed changes it)'


def test_the_rules_cannot_be_lifted(tmp_path):
    result = in_process.run('eval.py', '--graph', _written(tmp_path / 'a.pb'), '--runtime=openvino',
                            '--allow_any_op')
    assert (result.code, result.stderr) == (
        2, 'error: --allow_any_op is for graphs that TensorFlow runs: leave it out\n')


def test_operations_that_inference_does_not_need_are_refused(tmp_path):
    def reads_a_file(x):
        with tf.control_dependencies([tf.read_file('/etc/passwd')]):
            return tf.identity(x)
    with pytest.raises(UserError, match='not allowed in inference .*ReadFile'):
        ServedGraph(None, _written(tmp_path / 'a.pb', reads_a_file))

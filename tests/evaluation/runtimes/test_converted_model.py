"""Converted files answer as the graph does, in its own words."""

import subprocess

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import registry
from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.frozen_graph import FrozenGraph
from permafrost.evaluation.frozen_graphs.graph_options import GraphOptions
from permafrost.evaluation.runtimes import client
from permafrost.evaluation.runtimes.converted_model import ConvertedModel
from permafrost.evaluation.runtimes.served_graph import ServedGraph
from permafrost.export.conversion import converters
from tests.evaluation.frozen_graphs.helpers import build
from tests.evaluation.runtimes.environments import needs
from tests.label_image.program import LABELS, SQUEEZE1, mean_colour, softmax

IMAGES = np.random.RandomState(5).randint(0, 256, (3, 32, 32, 3)).astype(np.uint8)
RAW = GraphOptions(output_kind='raw')


def colours():
    tf.constant(LABELS, name='labels')
    mean_colour(tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images'))


@pytest.mark.slow
@pytest.mark.parametrize('kind, suffix, runtime', [
    pytest.param('tflite', '.tflite', 'litert', marks=needs('litert', 'tf2')),
    pytest.param('onnx', '.onnx', 'onnxruntime', marks=needs('onnxruntime')),
    pytest.param('tflite', '.tflite', 'openvino', marks=needs('openvino', 'tf2')),
    pytest.param('onnx', '.onnx', 'openvino', marks=needs('openvino', 'onnxruntime'))])
def test_a_converted_file_answers_as_the_graph_does(kind, suffix, runtime, tmp_path):
    path = str(tmp_path / ('colours' + suffix))
    converters.convert(kind, build(colours), path, labels=LABELS)
    with client.runtime(runtime) as child:
        model = ConvertedModel(child, path)
        probabilities = model.probabilities(None, IMAGES)
        with pytest.raises(UserError):
            ConvertedModel(child, path + 'none')
    np.testing.assert_allclose(probabilities, softmax(IMAGES.mean((1, 2)) / 32), atol=1e-5)
    assert list(model.labels) == LABELS
    assert not model.describe() and model.input.is_own


@pytest.mark.slow
@needs('openvino')
def test_openvino_returns_the_logits_of_a_frozen_graph():
    """The only output of the graph is the probabilities."""
    graph = graph_def.read_graph(SQUEEZE1)
    with tf.Graph().as_default(), tf.Session() as session:
        expected = FrozenGraph(graph, SQUEEZE1).run(session, IMAGES, 3)
    with client.runtime('openvino') as child:
        model = ServedGraph(child, SQUEEZE1)
        logits = model.run(None, IMAGES, 3)
        second = ServedGraph(child, SQUEEZE1, options=GraphOptions(output='probabilities'))
        probabilities = second.run(None, IMAGES, 3)
    assert list(model.labels) == list(registry.CIFAR10_CLASSES)
    np.testing.assert_allclose(probabilities, softmax(expected), atol=1e-3)
    assert model.output.kind == 'logits'
    np.testing.assert_allclose(logits, expected, atol=1e-3)


TWO_OUTPUTS = """
import sys
import onnx
from onnx import TensorProto, helper
nodes = [helper.make_node('ReduceMean', ['x'], ['boxes'], axes=[1, 2], keepdims=0),
         helper.make_node('Neg', ['boxes'], ['scores'])]
x = helper.make_tensor_value_info('x', TensorProto.FLOAT, ['N', 32, 32, 3])
outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ['N', 3])
           for name in ('boxes', 'scores')]
onnx.save(helper.make_model(helper.make_graph(nodes, 'two', [x], outputs), ir_version=8,
                            opset_imports=[helper.make_opsetid('', 13)]), sys.argv[1])
"""


@pytest.mark.slow
@needs('onnxruntime', 'openvino')
@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_a_runtime_returns_the_output_that_is_named(runtime, tmp_path):
    path = str(tmp_path / 'two.onnx')
    subprocess.check_call([client.python('onnxruntime'), '-c', TWO_OUTPUTS, path])
    with client.runtime(runtime) as child:
        for name, sign in (('boxes', 1), ('scores', -1)):
            model = ConvertedModel(
                child, path, options=GraphOptions(output=name, output_kind='raw'))
            np.testing.assert_allclose(model.probabilities(None, IMAGES),
                                       sign * IMAGES.mean((1, 2)), rtol=1e-5)


class Child:
    """A runtime that describes a file with these inputs and outputs."""

    def __init__(self, shape=(-1, 32, 32, 3), dtype='float32', outputs=('y',), inputs=('x',),
                 source_op=''):
        self._facts = {'inputs': [{'name': name, 'dtype': dtype, 'shape': list(shape)}
                                  for name in inputs], 'outputs': list(outputs), 'labels': [],
                       'source_ops': dict.fromkeys(outputs, source_op)}

    def ask(self, describe):
        return self._facts


@pytest.mark.parametrize('outputs, stated, fetched', [
    (['y'], None, 'y'), (['y', 'probabilities:0', 'predictions'], None, 'predictions'),
    (['boxes', 'scores'], 'scores', 'scores'), (['boxes', 'scores:0'], 'scores', 'scores:0'),
    (['boxes', 'serving_default_scores:0'], 'scores:0', 'serving_default_scores:0'),
    (['a', 'probabilities:0'], None, 'probabilities:0')])
def test_the_output_is_stated_or_usual_or_the_only_one(outputs, stated, fetched, monkeypatch):
    def predict(child, path, fed, batch_size, output):
        assert output == fetched
        return fed.mean((1, 2))
    monkeypatch.setattr(client, 'predict', predict)
    model = ConvertedModel(Child(outputs=outputs), 'a.onnx', options=GraphOptions(
        node='x', output=stated, output_kind='raw'))
    np.testing.assert_allclose(model.probabilities(None, IMAGES), IMAGES.mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize('child, stated, message', [
    (Child(outputs=['boxes', 'scores']), {},
     r"^a.onnx \(input 'x'\) leaves some settings open: add --output NAME "
     r'.candidates: boxes, scores.$'),
    (Child((-1, -1, -1, 3), outputs=['a', 'b']), {}, r'candidates: a, b. --image_size N$'),
    (Child(outputs=['boxes', 'scores']), {'output': 'score'},
     r"^a.onnx has no 'score' for --output .candidates: boxes, scores.$"),
    (Child(), {'node': 'z'}, r"^a.onnx has no 'z' for --node .candidates: x.$"),
    (Child(inputs=['a', 'b']), {}, '^a.onnx has 2 inputs, but only .* with one can be fed: export'),
    (Child(dtype='int32'), {}, 'has type int32, but only uint8 images and floats'),
    *((Child(dtype=name), {}, f'^a.onnx: its input has type {name}, but only uint8 images and '
       'floats can be fed: convert the model with a uint8 or float input$')
      for name in ('bytes', 'u4', 'f8e4m3'))])
def test_what_cannot_be_run_is_one_line(child, stated, message):
    with pytest.raises(UserError, match=message):
        ConvertedModel(child, 'a.onnx', options=GraphOptions(**stated))


@pytest.mark.parametrize('dtype, kind', [('float32', 'softmax'), ('uint8', 'logits')])
def test_probabilities_of_floats_are_used_as_they_are(dtype, kind, monkeypatch):
    """Only files that are fed uint8 `images` have the interface of freeze_graph.py."""
    monkeypatch.setattr(client, 'predict', lambda child, path, fed, batch_size, output:
                        np.tile(np.float32([0.2, 0.3, 0.5]), (len(fed), 1)))
    model = ConvertedModel(Child(dtype=dtype, inputs=['images'], outputs=['predictions']), 'a.onnx')
    model.probabilities(None, IMAGES)
    assert model.output.kind == kind


def test_the_runtime_says_what_computes_the_output(monkeypatch):
    monkeypatch.setattr(client, 'predict', lambda child, path, fed, batch_size, output:
                        fed.mean((1, 2)))
    model = ConvertedModel(Child(source_op='MatMul'), 'a.onnx')
    model.probabilities(None, IMAGES)
    assert model.output.kind == 'logits'
    with pytest.raises(UserError, match='means, 3 numbers by Relu: give --output_kind'):
        ConvertedModel(Child(source_op='Relu'), 'a.onnx').probabilities(None, IMAGES)


def test_a_fixed_batch_is_fed_as_it_is(monkeypatch):
    def predict(child, path, fed, batch_size, output):
        assert output == 'y' and len(fed) % batch_size == 0 and batch_size == 128
        return fed.mean((1, 2))
    monkeypatch.setattr(client, 'predict', predict)
    model = ConvertedModel(Child([128, 32, 32, 3]), 'a.onnx', options=RAW)
    np.testing.assert_allclose(model.probabilities(None, IMAGES), IMAGES.mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize('axes', [(0, 1), (0, 1, 2)])
def test_an_input_without_a_dimension_for_images_is_fed_one_at_a_time(axes, monkeypatch):
    """Its answer may be a row, or a number."""
    def predict(child, path, fed, batch_size, output):
        assert fed.shape == (32, 32, 3) and batch_size == len(fed)
        return np.float32(fed.mean(axes))
    monkeypatch.setattr(client, 'predict', predict)
    model = ConvertedModel(Child([32, 32, 3]), 'a.onnx', options=RAW)
    np.testing.assert_allclose(model.probabilities(None, IMAGES),
                               IMAGES.mean(tuple(axis + 1 for axis in axes)).reshape(3, -1),
                               rtol=1e-5)

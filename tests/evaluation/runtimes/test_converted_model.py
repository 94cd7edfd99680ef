"""Converted files answer as the graph does, in its own words."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.frozen_graph import FrozenGraph
from permafrost.evaluation.frozen_graphs.statement import Statement
from permafrost.evaluation.runtimes import client
from permafrost.evaluation.runtimes.converted_model import ConvertedModel
from permafrost.export.conversion import converters
from tests.evaluation.frozen_graphs.helpers import build
from tests.evaluation.runtimes.environments import needs
from tests.label_image.program import LABELS, SQUEEZE1, mean_colour, softmax

IMAGES = np.random.RandomState(5).randint(0, 256, (3, 32, 32, 3)).astype(np.uint8)


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
    assert list(model.labels) == ([] if runtime == 'openvino' else LABELS)
    assert not model.describe() and model.input.is_own


@pytest.mark.slow
@needs('openvino')
def test_openvino_returns_the_logits_of_a_frozen_graph():
    """The only output of the graph is the probabilities."""
    graph = graph_def.read_graph(SQUEEZE1)
    with tf.Graph().as_default(), tf.Session() as session:
        expected = FrozenGraph(graph, SQUEEZE1).run(session, IMAGES, 3)
    with client.runtime('openvino') as child:
        model = ConvertedModel(child, SQUEEZE1)
        logits = model.run(None, IMAGES, 3)
    assert model.output.kind == 'logits'
    np.testing.assert_allclose(logits, expected, atol=1e-3)


def test_a_fixed_batch_is_fed_as_it_is(monkeypatch):
    class Child:
        def ask(self, describe):
            return {'input': {'name': 'x', 'dtype': 'float32', 'shape': [128, 32, 32, 3]},
                    'output': 'y', 'labels': []}

    def predict(child, path, fed, batch_size):
        assert len(fed) % batch_size == 0 and batch_size == 128
        return fed.mean((1, 2))
    monkeypatch.setattr(client, 'predict', predict)
    model = ConvertedModel(Child(), 'a.onnx', stated=Statement(output_kind='raw'))
    np.testing.assert_allclose(model.probabilities(None, IMAGES), IMAGES.mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize('axes', [(0, 1), (0, 1, 2)])
def test_an_input_without_a_dimension_for_images_is_fed_one_at_a_time(axes, monkeypatch):
    """Its answer may be a row, or a number."""
    class Child:
        def ask(self, describe):
            return {'input': {'name': 'x', 'dtype': 'float32', 'shape': [32, 32, 3]},
                    'output': 'y', 'labels': []}

    def predict(child, path, fed, batch_size):
        assert fed.shape == (32, 32, 3) and batch_size == len(fed)
        return np.float32(fed.mean(axes))
    monkeypatch.setattr(client, 'predict', predict)
    model = ConvertedModel(Child(), 'a.onnx', stated=Statement(output_kind='raw'))
    np.testing.assert_allclose(model.probabilities(None, IMAGES),
                               IMAGES.mean(tuple(axis + 1 for axis in axes)).reshape(3, -1),
                               rtol=1e-5)

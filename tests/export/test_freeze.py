"""A frozen run answers as eval did, and its json file says what it is."""

import collections
import hashlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import registry
from permafrost.evaluation import evaluate, graph_def
from permafrost.evaluation.evaluator import Evaluator
from permafrost.experiments import model_info
from permafrost.export import freeze
from permafrost.training import checkpoints
from tests.export.graphs import logits_of, read_json, some_images


@pytest.mark.parametrize('weights', ['averaged', 'raw'])
@pytest.mark.parametrize('which', ['run', 'normed_run'])
def test_logits_and_accuracy_are_evals(which, weights, synthetic, tmp_path, request):
    run, images = request.getfixturevalue(which), some_images(synthetic, 500)
    path = str(tmp_path / 'a.pb')
    result = freeze.freeze(run, None, weights=weights, output=path)
    with Evaluator(run, None, weights=weights, tta='flip') as evaluator:
        figures = evaluator.evaluate(*checkpoints.find_checkpoint(run))
        expected = evaluator._session.run(evaluator.inference.predictions,
                                          {evaluator.inference.images: images})
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(logits_of(path, images) / scale, expected / scale, atol=1e-5)
    assert result['images'] == 500 and abs(result['correct'] - figures['correct']) <= 1
    assert result['weights'] == figures['weights'] == weights
    graph = evaluate.evaluate_frozen_graph(path, None, dataset='synthetic',
                                      data_dir=synthetic.directory, tta='flip')
    assert graph['correct'] == result['correct'] and graph['images'] == 500
    assert graph['tta'] == 'flip' and abs(graph['correct_tta'] - figures['correct_tta']) <= 1


def test_the_normed_run_normalizes(normed_run, tmp_path):
    """Its moving statistics moved, so that the fold had something to do."""
    reader = tf.train.load_checkpoint(checkpoints.find_checkpoint(normed_run)[1])
    assert np.abs(reader.get_tensor('conv2/bn/moving_mean')).min() > 0
    assert np.abs(reader.get_tensor('conv2/bn/moving_variance') - 1).max() > 0.01
    assert not reader.has_tensor('conv2/bn/moving_mean/ExponentialMovingAverage')
    path = str(tmp_path / 'normed.pb')
    result = freeze.freeze(normed_run, None, output=path)
    assert result['correct'] > 150  # of 500; chance gives 50
    assert not [t for t in result['op_types'] if 'Norm' in t]
    # gamma, beta, and weights are 1,200 + 32, 3,456 + 48 and 250: the gammas have gone
    assert result['params'] == 1200 + 16 + 3456 + 24 + 250


def test_a_step_of_the_past(run, synthetic, tmp_path):
    assert freeze.freeze(run, None, step=10, output=str(tmp_path / 'ten.pb'))['step'] == 10
    freeze.freeze(run, None, output=str(tmp_path / 'last.pb'))
    ten, last = (logits_of(str(tmp_path / name), some_images(synthetic)) for name in (
        'ten.pb', 'last.pb'))
    assert np.abs(ten - last).max() > 1e-3


def test_sidecar(run, file):
    result = read_json(file)
    with open(file, 'rb') as stream:
        content = stream.read()
    graph = graph_def.read_graph(file)
    assert result['sha256'] == hashlib.sha256(content).hexdigest()
    assert result['bytes'] == len(content)
    assert result['op_types'] == dict(collections.Counter(node.op for node in graph.node))
    size = model_info.measure_model('squeeze1', 24)
    assert [result[c] for c in model_info.COUNTS] == [size[c] for c in model_info.COUNTS]
    assert (result['model'], result['run'], result['step']) == ('squeeze1', run, 20)
    assert result['classes'] == list(registry.CIFAR10_CLASSES) and result['image_size'] == 24
    assert result['versions']['tensorflow'] == tf.__version__
    assert result['engine'] in ('tf1', 'tf1-mkl', 'tf2')
    assert result['accuracy'] == result['correct'] / result['images']
    assert 'this file' in result['accuracy_of']
    assert 0 <= result['largest_difference'] <= 1e-5

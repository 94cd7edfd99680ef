"""The C++ program computes the probabilities and the accuracy that Python computes."""

import functools
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import engines
from permafrost.datasets import loading
from permafrost.evaluation import inference_graph
from permafrost.evaluation.evaluator import Evaluator
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.export import freeze
from permafrost.training.checkpoints import finding
from tests import networks
from tests.label_image.program import ENGINES, ROOT, SQUEEZE1, evaluate, library

TRAINED = ['tuto', 'squeeze1', 'sprint']  # in trained_models/
UNTRAINED = [pytest.param('nin2', marks=pytest.mark.slow), 'normed']  # trained here, a few steps


def assert_same(probabilities, expected):
    """Equal to 1e-4, and to 1 % of the spread of the probabilities if that is smaller."""
    np.testing.assert_allclose(probabilities, expected, rtol=0,
                               atol=min(1e-4, expected.std() / 100))


@pytest.fixture(scope='session')
def trained(synthetic, tmp_path_factory):
    """trained(model): run directory of a training of a few steps, and path of its frozen graph."""
    @functools.lru_cache(None)
    def train(model):
        run = str(tmp_path_factory.mktemp('trained') / model)
        networks.train(synthetic, run, 40 if model == 'normed' else 4, model)
        with networks.registered():
            freeze.freeze(run, None, output=run + '.pb')
        return run, run + '.pb'
    return train


@pytest.fixture(scope='session')
def evaluated(trained, synthetic):
    """evaluated(model): metrics and probabilities of the 500 synthetic test images in Python."""
    @functools.lru_cache(None)
    def evaluate_run(model):
        run, _ = trained(model)
        with networks.registered(), Evaluator(run, None) as evaluator:
            metrics = evaluator.evaluate(*finding.find_checkpoint(run))
            return metrics, evaluator.session.run(
                evaluator.inference.probabilities,
                {evaluator.inference.images: loading.load(synthetic, 'test')[0]})
    return evaluate_run


@pytest.fixture(scope='session')
def in_python(cifar10, trained):
    """in_python(model, count): path of a frozen graph, and how Python classifies CIFAR-10 with it.

    The latter is the number of correct images of the first `count` test images, and their
    probabilities [count, 10].
    """
    @functools.lru_cache(None)
    def compute(model, count):
        path = (os.path.join(ROOT, 'trained_models', model + '.pb') if model in TRAINED
                else trained(model)[1])
        images, labels = (array[:count] for array in loading.load(cifar10, 'test'))
        with tf.Graph().as_default(), tf.Session() as session:
            inference = inference_graph.import_own_graph(graph_def.read_graph(path))
            logits, probabilities = (np.concatenate(batches) for batches in zip(*[
                session.run([inference.predictions, inference.probabilities],
                            {inference.images: images[i:i + 500]})
                for i in range(0, count, 500)]))
        return path, (logits.argmax(1) == labels).sum(), probabilities
    return compute


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('model', UNTRAINED)
def test_the_program_agrees_with_the_evaluator(program, tmp_path, trained, evaluated, synthetic,
                                               model, engine):
    metrics, expected = evaluated(model)
    batch_file, = synthetic.splits['test']
    answer, probabilities = evaluate(program, trained(model)[1], batch_file, tmp_path,
                                     library(engine))
    assert answer['images'] == metrics['images'] == 500
    assert abs(answer['correct'] - metrics['correct']) <= 2
    assert_same(probabilities, expected)


@pytest.mark.slow
@pytest.mark.parametrize('engine', ENGINES)
def test_nin2_is_deterministic(program, tmp_path, trained, synthetic, engine):
    batch_file, = synthetic.splits['test']
    first, second = (evaluate(program, trained('nin2')[1], batch_file, tmp_path, library(engine),
                              '--limit=100')[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def recorded(model):
    with open(os.path.join(ROOT, 'trained_models', model + '.json')) as stream:
        return json.load(stream)['correct']


def check_cifar10(program, cifar10, in_python, folder, model, count, engine):
    """Compare the program with Python. Return the number of correct images."""
    path, correct, expected = in_python(model, count)
    batch_file = os.path.join(cifar10.directory, 'test_batch.bin')
    answer, probabilities = evaluate(program, path, batch_file, folder, f'--limit={count}',
                                     library(engine))
    assert answer['images'] == count and abs(answer['correct'] - correct) <= 2
    assert_same(probabilities, expected)
    return answer['correct']


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('model, count', [('tuto', 500), ('squeeze1', 500), ('sprint', 100)])
def test_first_test_images(program, cifar10, in_python, tmp_path, model, count, engine):
    correct = check_cifar10(program, cifar10, in_python, tmp_path, model, count, engine)
    assert correct > 0.6 * count


@pytest.mark.slow
@pytest.mark.parametrize('model', ['tuto', 'normed'])
def test_all_test_images(program, cifar10, in_python, tmp_path, model):
    engine = engines.installed()
    correct = check_cifar10(program, cifar10, in_python, tmp_path, model, 10000, engine)
    if model in TRAINED:
        assert abs(correct - recorded(model)) <= 2


@pytest.mark.slow
def test_all_test_images_of_squeeze1(program, cifar10):
    """tests/export/test_trained_models.py compares Python with the same record."""
    answer = json.loads(program(
        '--graph=' + SQUEEZE1, library(engines.installed()), '--json', '--batch_file',
        os.path.join(cifar10.directory, 'test_batch.bin')))
    assert answer['images'] == 10000 and abs(answer['correct'] - recorded('squeeze1')) <= 2

"""The C++ program counts as many images correct as eval, with the same probabilities."""

import functools
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import runtime
from permafrost.datasets import loading
from permafrost.evaluation import graph_def, inference_graph
from permafrost.evaluation.evaluator import Evaluator
from permafrost.export import freeze
from permafrost.training import checkpoints
from tests import networks, processes
from tests.label_image.program import ENGINES, ROOT, library

tf.disable_v2_behavior()
tf.enable_resource_variables()

TRAINED = ['tuto', 'squeeze1', 'sprint']  # in trained_models/
UNTRAINED = [pytest.param('nin2', marks=pytest.mark.slow), 'normed']  # trained here, a few steps
# nin2 takes 2.5 TFLOP for the 10,000 images: with one library, the one that the tests run on.
FULL = [(name, of) for name in ('tuto', 'squeeze1', 'nin2', 'normed') for of in ENGINES
        if name != 'nin2' or of == runtime.installed()]


def answers(program, path, batch_file, folder, *flags):
    """What the program counts, and its probabilities [N, classes]."""
    lines = folder / 'lines.txt'
    answer = json.loads(program('--graph=' + path, '--batch_file', batch_file, '--json',
                                '--predictions', lines, *flags))
    rows = np.loadtxt(str(lines))
    assert (rows[:, 0] == np.arange(answer['images'])).all()
    return answer, rows[:, 3:]


def assert_the_same(found, expected):
    """To 1e-4; and, of a network that is unsure yet, to a hundredth of what its answers vary by."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=min(1e-4, expected.std() / 100))


@pytest.fixture(scope='session')
def run_of(synthetic, tmp_path_factory):
    """run_of(name): (run directory of a few steps, path of its frozen graph)."""
    @functools.lru_cache(None)
    def train(name):
        run = str(tmp_path_factory.mktemp('deployed') / name)
        with networks.registered():
            if name == 'normed':
                networks.train(synthetic, run, 40)
            else:
                processes.finish(processes.command(
                    'train.py', '--model=' + name, '--data_set=synthetic', '--steps=4',
                    '--data_dir=' + synthetic.directory, '--run=' + run, '--set=batch_size=16'))
            freeze.freeze(run, None, output=run + '.pb')
        return run, run + '.pb'
    return train


@pytest.fixture(scope='session')
def evaluated(run_of, synthetic):
    """evaluated(name): what eval says of the 500 synthetic images: (figures, probabilities)."""
    @functools.lru_cache(None)
    def evaluate(name):
        run, _ = run_of(name)
        with networks.registered(), Evaluator(run, None) as evaluator:
            figures = evaluator.evaluate(*checkpoints.find_checkpoint(run))
            return figures, evaluator._session.run(
                evaluator.inference.probabilities,
                {evaluator.inference.images: loading.load(synthetic, 'test')[0]})
    return evaluate


@pytest.fixture(scope='session')
def in_python(cifar10, run_of):
    """in_python(name, count): (path of a frozen graph, what Python computes with it).

    That is how many of the first `count` test images of CIFAR-10 are correct, and their
    probabilities [count, 10].
    """
    @functools.lru_cache(None)
    def compute(name, count):
        path = (os.path.join(ROOT, 'trained_models', name + '.pb') if name in TRAINED
                else run_of(name)[1])
        images, labels = (part[:count] for part in loading.load(cifar10, 'test'))
        with tf.Graph().as_default(), tf.Session() as session:
            inference = inference_graph.import_frozen_graph(graph_def.read_graph(path), cifar10)
            logits, probabilities = (np.concatenate(parts) for parts in zip(*[
                session.run([inference.predictions, inference.probabilities],
                            {inference.images: images[i:i + 500]})
                for i in range(0, count, 500)]))
        return path, (logits.argmax(1) == labels).sum(), probabilities
    return compute


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('name', UNTRAINED)
def test_what_eval_counts_the_program_counts(program, tmp_path, run_of, evaluated, synthetic,
                                             name, engine):
    figures, probabilities = evaluated(name)
    batch_file, = synthetic.splits['test']
    answer, found = answers(program, run_of(name)[1], batch_file, tmp_path, library(engine))
    assert answer['images'] == figures['images'] == 500
    assert abs(answer['correct'] - figures['correct']) <= 2
    assert_the_same(found, probabilities)


@pytest.mark.slow
@pytest.mark.parametrize('engine', ENGINES)
def test_nin2_answers_twice_the_same(program, tmp_path, run_of, synthetic, engine):
    batch_file, = synthetic.splits['test']
    first, second = (answers(program, run_of('nin2')[1], batch_file, tmp_path, library(engine),
                             '--limit=100')[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def compare(program, cifar10, in_python, folder, name, count, *flags):
    path, correct, probabilities = in_python(name, count)
    batch_file = os.path.join(cifar10.directory, 'test_batch.bin')
    answer, found = answers(program, path, batch_file, folder, '--limit=%d' % count, *flags)
    assert answer['images'] == count and abs(answer['correct'] - correct) <= 2
    assert_the_same(found, probabilities)
    return answer['correct']


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('name', TRAINED)
def test_first_test_images(program, cifar10, in_python, tmp_path, name, engine):
    correct = compare(program, cifar10, in_python, tmp_path, name, 500, library(engine))
    assert correct > 300


@pytest.mark.slow
@pytest.mark.parametrize('name, engine', FULL)
def test_all_test_images(program, cifar10, in_python, tmp_path, name, engine):
    correct = compare(program, cifar10, in_python, tmp_path, name, 10000, library(engine))
    if name in TRAINED:
        with open(os.path.join(ROOT, 'trained_models', name + '.json')) as stream:
            assert abs(correct - json.load(stream)['correct']) <= 2

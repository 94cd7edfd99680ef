"""The frozen graphs in the repository."""

import glob
import hashlib
import os

import pytest

from permafrost.evaluation import evaluate
from permafrost.experiments import accuracy_tables
from tests import processes
from tests.export.graphs import read_json

TRAINED = sorted(glob.glob(os.path.join(processes.ROOT, 'trained_models', '*.pb')))


def test_tuto_is_there():
    assert 'tuto.pb' in map(os.path.basename, TRAINED)


@pytest.mark.parametrize('path', TRAINED, ids=os.path.basename)
def test_trained_models_are_what_their_json_says(path):
    result = read_json(path)
    with open(path, 'rb') as stream:
        content = stream.read()
    assert hashlib.sha256(content).hexdigest() == result['sha256']
    assert len(content) == result['bytes'] < 8e6
    assert result['images'] == 10000
    assert (result['model'], result['step']) in {
        (found['model'], found['steps']) for found in accuracy_tables.load(
            os.path.join(processes.ROOT, 'results'))}
    assert os.path.splitext(os.path.basename(path))[0] == result['model']


@pytest.mark.slow
@pytest.mark.parametrize('path', TRAINED, ids=os.path.basename)
def test_trained_models_answer_as_recorded(path, cifar10):
    figures = evaluate.evaluate_frozen_graph(path, None)
    assert figures['images'] == 10000
    assert abs(figures['correct'] - read_json(path)['correct']) <= 2

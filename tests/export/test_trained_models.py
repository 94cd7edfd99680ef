"""The frozen graphs in the repository, and those of larger networks in int8."""

import glob
import hashlib
import os

import pytest

from permafrost import files
from permafrost.evaluation import evaluate
from permafrost.experiments import results
from tests import processes
from tests.export.helpers import read_json

MAX_OPS = 30e6  # for an image; larger models take most of the time, and their sha256 is checked
TRAINED, IN_INT8 = (sorted(glob.glob(os.path.join(processes.ROOT, 'trained_models', '*' + end)))
                    for end in ('.pb', '.int8.tflite'))


def test_tuto_is_one_of_them():
    assert 'tuto.pb' in map(os.path.basename, TRAINED)


def check_file(path, result):
    with open(path, 'rb') as stream:
        content = stream.read()
    assert hashlib.sha256(content).hexdigest() == result['sha256']
    assert len(content) == result['bytes'] < 8e6
    assert result['images'] == 10000


@pytest.mark.parametrize('path', TRAINED, ids=os.path.basename)
def test_their_json_describes_them(path):
    result = read_json(path)
    check_file(path, result)
    assert (result['model'], result['step']) in {
        (recorded['model'], recorded['steps'])
        for recorded in results.load(os.path.join(processes.ROOT, 'results'))}
    assert os.path.splitext(os.path.basename(path))[0] == result['model']


@pytest.mark.parametrize('path', IN_INT8, ids=os.path.basename)
def test_their_json_describes_files_in_int8(path):
    result = files.read_json(path + '.json')
    check_file(path, result)
    assert result['quantize'] == 'int8'
    assert os.path.basename(path) == result['model'] + '.int8.tflite'
    assert result['model'] in {recorded['model'] for recorded in results.load(
        os.path.join(processes.ROOT, 'results'))}


@pytest.mark.slow
@pytest.mark.parametrize('path', [
    path for path in TRAINED if read_json(path)['ops'] < MAX_OPS], ids=os.path.basename)
def test_their_accuracy_is_as_recorded(path, cifar10):
    metrics = evaluate.evaluate_frozen_graph(path, None)
    assert metrics['images'] == 10000
    assert abs(metrics['correct'] - read_json(path)['correct']) <= 2

"""freeze_graph.py: what its flags ask for."""

import os
import re
import shutil

import pytest

from permafrost.evaluation.runtimes import client
from permafrost.export.conversion import exporting
from tests import in_process


@pytest.fixture
def asked(monkeypatch):
    """The calls of exporting.export; no environment is needed."""
    calls = []
    monkeypatch.setattr(client, 'python', lambda environment: environment)
    monkeypatch.setattr(exporting, 'export', lambda *arguments: calls.append(arguments))
    return calls


def test_a_run_is_frozen_and_converted(run, tmp_path, asked):
    output = str(tmp_path / 'net.pb')
    result = in_process.run('freeze_graph.py', '--run', run, '--output', output,
                            '--formats=pb,tflite,onnx', '--quantize=none,int8', '--max_loss=2')
    assert result.code == 0, result.stderr
    (frozen, targets, data, _, max_loss, stem), = asked
    assert (frozen, max_loss, stem) == (output, 2, output) and os.path.exists(output)
    assert [(each.format, each.quantize) for each in targets] == [
        ('tflite', 'none'), ('tflite', 'int8'), ('onnx', 'none'), ('onnx', 'int8')]
    assert data.counts['train'] == 640  # the dataset of the run


def test_a_frozen_graph_is_converted(file, synthetic, asked):
    result = in_process.run('freeze_graph.py', '--graph', file, '--formats=onnx',
                            '--dataset=synthetic', '--data_dir', synthetic.directory)
    assert result.code == 0, result.stderr
    (frozen, targets, data, _, _, output), = asked
    assert (frozen, output, len(targets)) == (file, None, 1)
    assert data.directory == synthetic.directory


@pytest.mark.parametrize('arguments, message', [
    (['--graph=FILE'], '--graph is already frozen: choose e.g. --formats tflite'),
    (['--graph=FILE', '--formats=tflite', '--step=3'], '--step is for a run'),
    (['--graph=/tmp', '--formats=tflite'], '--graph must be a .pb file'),
    (['--run=RUN', '--max_loss=3'], '--max_loss applies only to converted files: add e.g. '
     '--formats pb,tflite'),
    (['--formats=tflit'], "unknown format 'tflit'; did you mean tflite?"),
    (['--quantize=int8'], '--quantize int8 is for tflite and onnx: add e.g. --formats pb,tflite')])
def test_flags_that_do_not_fit_are_refused(arguments, message, file, asked):
    result = in_process.run('freeze_graph.py', *(each.replace('FILE', file) for each in arguments))
    assert (result.code, asked) == (2, [])
    assert message in result.stderr and result.stderr.count('\n') == 1


@pytest.mark.parametrize('arguments, code, message', [
    (['--graph=FILE', '--output=m.int8.tflite'], 2, 'must end in .pb.*other formats get its name'),
    (['--run=RUN', '--output=m.tflite'], 2, 'must end in .pb'),
    (['--run=RUN', '--saved_model=/tmp'], 1, '/tmp exists: name another --saved_model')])
def test_wrong_places_are_refused_before_environments_are_built(
        arguments, code, message, run, file, monkeypatch):
    monkeypatch.setattr(client, 'python', None)
    result = in_process.run('freeze_graph.py', '--formats=tflite', *(
        each.replace('FILE', file).replace('RUN', run) for each in arguments))
    assert result.code == code and re.search(message, result.stderr), result.stderr
    assert result.stderr.count('\n') == 1


@pytest.mark.parametrize('name, format', [
    ('squeeze1.saved_model', 'saved_model'), ('squeeze1.tflite.json', 'tflite')])
def test_a_directory_in_the_place_of_a_file_is_refused_before_freezing(
        name, format, run, tmp_path, asked):
    copy = str(tmp_path / 'run')
    shutil.copytree(run, copy)
    os.mkdir(os.path.join(copy, name))
    result = in_process.run('freeze_graph.py', '--run', copy, '--formats', format)
    assert result.code == 1 and 'exists: remove it, or name another --output' in result.stderr
    assert not os.path.exists(os.path.join(copy, 'squeeze1.pb'))

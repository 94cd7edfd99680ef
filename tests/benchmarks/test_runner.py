"""Benchmarks by name: wrong names are one line, results are recorded with their command."""

import json
import subprocess
import sys

import pytest

from benchmarks import cluster, runner
from permafrost.errors import UsageError
from tests.processes import ROOT


@pytest.mark.parametrize('name, options, message', [
    ('pipelin', {}, 'did you mean pipeline?'),
    ('inference', dict(dataset='x/y'), 'for CIFAR-10'),
    ('pipeline', dict(models=['tutu']), 'did you mean tuto?')])
def test_wrong_names_are_refused(name, options, message):
    with pytest.raises(UsageError, match=message.replace('?', r'\?')):
        runner.run(name, runner.Options(**options))


def test_wrong_flags_are_one_line():
    done = subprocess.run([sys.executable, '-m', 'benchmarks', 'cluster', '--rounds=0'], cwd=ROOT,
                          stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 2 and '--rounds=0' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_result_is_recorded_with_its_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cluster, 'benchmark', lambda options: {'engine': 'tf9', 'rounds': 2})
    monkeypatch.setattr(sys, 'argv', ['__main__.py', 'cluster', '--models', 'a b'])
    runner.run('cluster', runner.Options(results=str(tmp_path / 'results')))
    path = tmp_path / 'results' / 'benchmark-cluster-tf9.json'
    assert json.loads(path.read_text()) == {
        'engine': 'tf9', 'rounds': 2, 'benchmark': 'cluster',
        'command': "python -m benchmarks cluster --models 'a b'"}
    assert str(path) in capsys.readouterr().out


def test_nothing_is_recorded_without_a_result(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, 'benchmark', lambda options: None)
    runner.run('cluster', runner.Options(results=str(tmp_path / 'results')))
    assert not list(tmp_path.iterdir())

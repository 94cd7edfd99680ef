"""Benchmarks by name: wrong names are one line, results are recorded with their command."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import cluster, deploy, runner
from permafrost.errors import UsageError, UserError
from tests.processes import ROOT


@pytest.mark.parametrize('name, options, message', [
    ('pipelin', {}, 'did you mean pipeline?'),
    ('inference', dict(dataset='x/y'), 'for CIFAR-10'),
    ('latency', dict(rounds=3), 'latency does not use --rounds: leave it out'),
    ('deploy', dict(seconds=3.), 'deploy does not use --seconds'),
    ('scaling', dict(rounds=3), 'scaling does not use --rounds'),
    ('cluster', dict(results=__file__ + '/results'), 'cannot be written: name another directory'),
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


def test_all_models_of_deploy_are_those_with_a_graph(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(deploy, 'benchmark', lambda options: asked.append(options.models))
    runner.run('deploy', runner.Options(models=['all'], results=str(tmp_path)))
    assert 'tuto' in asked[0] and all(os.path.exists(runner.graph_of(name)) for name in asked[0])


def test_the_output_is_returned():
    assert runner.output_of('sh', '-c', 'echo a; echo b >&2') == 'a\n'


@pytest.mark.parametrize('script, message', [
    ('echo first >&2; echo the reason >&2; exit 1', 'the reason'),
    ('echo the reason; exit 1', 'the reason'), ('exit 1', 'no output')])
def test_a_command_that_fails_is_one_line(script, message):
    with pytest.raises(UserError, match=f'^sh failed: {message}$'):
        runner.output_of('sh', '-c', script)


def test_a_script_that_fails_is_named(tmp_path):
    with pytest.raises(UserError, match='^train.py failed: error: unknown model'):
        runner.train_and_freeze('tutu', str(tmp_path), runner.Options())

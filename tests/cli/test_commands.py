"""The command lines that messages tell users to run."""

import os
import shlex
import subprocess
import sys

import pytest

from permafrost.cli import commands
from tests.processes import ROOT


@pytest.fixture(autouse=True)
def without_front_door(monkeypatch):
    monkeypatch.delenv('PERMAFROST_COMMAND', raising=False)


def _environment(folder, *names):
    """Make a folder with links to this interpreter of these names, and return its path."""
    os.makedirs(str(folder))
    for name in names:
        os.symlink(sys.executable, str(folder / name))
    return str(folder)


@pytest.mark.parametrize('names, expected', [
    (['python', 'python3'], 'python'), (['python3'], 'python3')])
def test_an_interpreter_on_the_path_is_called_by_its_name(tmp_path, monkeypatch, names, expected):
    folder = _environment(tmp_path / 'bin', *names)
    monkeypatch.setenv('PATH', folder)
    monkeypatch.setattr(sys, 'executable', os.path.join(folder, 'python3'))
    monkeypatch.chdir(ROOT)
    assert commands.next_command('eval.py', '--run', 'runs/a b') == (
        f"{expected} eval.py --run 'runs/a b'")


def test_an_interpreter_that_the_path_hides_is_called_by_its_own(tmp_path, monkeypatch):
    """Its engine may not be the one of the interpreter that `python` starts."""
    monkeypatch.setenv('PATH', _environment(tmp_path / 'other', 'python'))
    folder = _environment(tmp_path / 'env' / 'bin', 'python')
    monkeypatch.setattr(sys, 'executable', os.path.join(folder, 'python'))
    monkeypatch.chdir(tmp_path)
    assert commands.next_command('train.py', '--resume') == (
        f'env/bin/python {ROOT}/train.py --resume')


def test_the_line_runs_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = commands.next_command('train.py', '--help')
    assert 'Train a model' in subprocess.check_output(line, shell=True).decode()


def test_a_front_door_is_named_with_a_verb(monkeypatch):
    monkeypatch.setenv('PERMAFROST_COMMAND', 'docker run permafrost')
    assert commands.next_command('freeze_graph.py', '--run', "it's") == (
        'docker run permafrost freeze --run ' + shlex.quote("it's"))
    assert 'tools/report.py' in commands.next_command('tools/report.py')


def test_a_name_cannot_write_to_the_terminal():
    assert commands.next_command('eval.py', '--run', 'a\n\x1b[2J').endswith(
        "eval.py --run 'a\\n\\x1b[2J'")


@pytest.mark.parametrize('script', sorted(commands.VERBS))
def test_every_verb_is_of_a_script(script):
    assert os.path.exists(os.path.join(ROOT, script))

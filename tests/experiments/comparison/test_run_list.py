"""The list of runs."""

import os

import pytest

from permafrost.errors import UserError
from permafrost.experiments.comparison import run_list
from tests.experiments.comparison.test_selection import write_study
from tests.processes import ROOT


def test_every_run_is_a_line(folder):
    lines = run_list.list_runs([str(folder / 'study'), str(folder / 'runs')]).splitlines()
    assert lines[0].split('  ')[0] == 'run' and lines[0].endswith('age')
    by_name = {line.split()[0].rsplit('/', 2)[-1]: line for line in lines[1:]}
    assert 'killed  tiny' in by_name['killed'] and ' 3/4 ' in by_name['killed']
    slow = next(line for line in lines if '0.01/seed1' in line)
    assert 'done' in slow and 'learning_rate=0.01' in slow.split('tutorial')[1] and ' 4/4 ' in slow
    assert sum('damaged' in line for line in lines) == 1
    assert sum('momentum=2' in line and 'config.json' in line for line in lines) == 1
    assert len(lines) == 1 + 4 + 2 + 2  # header, the study, killed and hostile, two notes
    assert not any('\x1b' in line for line in lines)


def test_exports_of_a_run_are_no_lines_of_their_own(folder):
    write_study(folder, {}, int8={'export': 'int8.tflite'})
    lines = run_list.list_runs([str(folder / 'study')]).splitlines()
    assert sum('/baseline/seed1 ' in line for line in lines) == 1
    assert not any('int8' in line for line in lines)


def test_a_config_that_cannot_be_read_is_a_line(folder):
    config = folder / 'runs/tiny/killed/config.json'
    config.unlink()
    config.mkdir()
    lines = run_list.list_runs([str(folder / 'study'), str(folder / 'runs')]).splitlines()
    assert sum(line.startswith(str(folder / 'runs/tiny/killed')) for line in lines) == 1


def test_a_result_is_no_line(folder):
    result = os.path.join(ROOT, 'results', 'sprint-sprint-400.json')
    lines = run_list.list_runs([str(folder / 'study'), result]).splitlines()
    assert lines[-1] == f'{result}: a result, not a run; to show it, leave out --list'


def test_no_run_is_an_error(folder):
    with pytest.raises(UserError, match='no run'):
        run_list.list_runs([str(folder / 'empty')])

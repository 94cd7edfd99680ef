"""compare.py as a user runs it."""

import os

from permafrost.experiments.comparison import output
from tests import in_process
from tests.experiments.comparison.conftest import HOSTILE
from tests.processes import ROOT

RESULTS = os.path.join(ROOT, 'results')


def test_a_table_and_the_files(tmp_path):
    paths = [f'--{name}={tmp_path}/table.{name}' for name in ('csv', 'json', 'markdown', 'html')]
    result = in_process.run('compare.py', f'{RESULTS}/tuto-tutorial-10000.json',
                            f'{RESULTS}/alex2*.json', '--nomeasure', *paths)
    assert result.code == 0, result
    lines = result.stdout.splitlines()
    assert lines[0].startswith('model  seeds  accuracy %') and lines[1].startswith('tuto ')
    assert lines[2].startswith('alex2') and lines[-1] == f'html: {tmp_path}/table.html'
    assert 'alex2' in (tmp_path / 'table.csv').read_text()
    assert (tmp_path / 'table.markdown').read_text().startswith('| variant | test accuracy (%) |')
    assert (tmp_path / 'table.html').read_text().lower().startswith('<!doctype html>')


def test_the_baseline_is_a_flag():
    result = in_process.run('compare.py', RESULTS, '--nomeasure', '--baseline=lenet5')
    assert result.code == 0 and result.stdout.splitlines()[1].startswith('lenet5')
    result = in_process.run('compare.py', RESULTS, '--nomeasure', '--baseline=lenet9')
    assert result.code == 2 and 'choose from' in result.stderr


def test_mistakes_are_one_line(tmp_path):
    for arguments, code, message in [
            ([str(tmp_path)], 1, 'no run, study or result'),
            ([f'--log_dir={tmp_path}/none'], 1, 'no run, study or result'),
            ([RESULTS, f'--csv={tmp_path}'], 2, 'name a file'),
            ([RESULTS, f'--html={tmp_path}/none/a.html'], 2, 'in a folder that exists'),
            ([RESULTS, '--split=tset'], 2, 'validation'),
            ([RESULTS, '--list', '--by_run'], 2, '--by_run has no effect with --list'),
            *((['--list', f'--{name}={value}'], 2, f'--{name} has no effect with --list: leave one')
              for name, value in (('csv', 'a'), ('json', 'a'), ('markdown', 'a'), ('html', 'a'),
                                  ('baseline', 'a'), ('split', 'test')))]:
        result = in_process.run('compare.py', *arguments)
        assert result.code == code and message in result.stderr and not result.stdout, result
        assert result.stderr.count('\n') == 1


def test_a_page_that_cannot_be_made_or_written_is_one_line(tmp_path, monkeypatch):
    def fail(error):
        def page(comparison):
            raise error
        return page

    for error, message in ((ImportError(name='jinja2'), '--html needs jinja2, which is missing'),
                           (OSError(28, 'No space left on device'), 'name another --html')):
        monkeypatch.setitem(output.TEXTS, 'html', fail(error))
        result = in_process.run('compare.py', RESULTS, '--nomeasure', f'--html={tmp_path}/a.html')
        assert result.code == 1 and message in result.stderr.splitlines()[-1]


def test_the_list_is_of_the_folder_of_runs(folder):
    result = in_process.run('compare.py', '--list', f'--log_dir={folder}/runs')
    assert result.code == 0 and len(result.stdout.splitlines()) == 4


def test_hostile_names_are_escaped_in_every_file(folder):
    paths = [f'--{name}={folder}/table.{name}' for name in ('csv', 'json', 'markdown', 'html')]
    result = in_process.run('compare.py', str(folder / 'runs' / 'tiny' / HOSTILE),
                            str(folder / 'runs' / 'tiny' / 'foreign'), '--nomeasure', *paths)
    assert result.code == 0 and '\x1b' not in result.stdout, result
    for name in ('csv', 'markdown', 'html'):
        text = (folder / f'table.{name}').read_text()
        assert '\x1b' not in text and '\n=1' not in text
        if name != 'csv':
            assert "<b>'x'" not in text
            assert '"<script>"' not in text
    assert not os.path.exists(str(folder / 'table'))

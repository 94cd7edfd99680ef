"""report.html: written while training, reloads until the end, shows hostile names as text."""

import os
import re
import sys

import pytest

from permafrost import files, runs
from permafrost.config import Config
from permafrost.errors import UserError
from permafrost.evaluation import history
from permafrost.evaluation.history import EpochRow
from permafrost.experiments.reports import run_facts, run_report
from permafrost.recipes import overrides
from tests import chromium

HOSTILE = ['<script>alert(1)</script>', 'a\nb\x1b', '"><img src=x onerror=alert(1)>', "it's $x$"]


@pytest.fixture
def run(tmp_path, synthetic):
    """A run directory with a name that is hard to show, in the middle of a training."""
    run = str(tmp_path / 'a "b" <i>\n')
    run_facts._dataset.cache_clear()
    recipe = overrides.get_recipe('tutorial', ['learning_rate=0.05'])
    runs.create('', 'tuto', run)
    runs.write_config(run, Config(
        'tuto', recipe, 100, dataset=synthetic.name, data_dir=synthetic.directory, eval_epochs=1.),
        {'classes': HOSTILE, 'command': 'python train.py <b>',
         'versions': [{'engine': 'tf2', 'python': '<u>'}], 'dataset_identity': 'ab'})
    runs.write_status(run, state='running', step=60, train_seconds=30., images_per_second=100.)
    history.write(run, [EpochRow(float(epoch), 20 * epoch, 2. / epoch, 0.3, 'test', 2.1 / epoch,
                                 0.2 * epoch, 0.05, 100., 10. * epoch) for epoch in (1, 2, 3)])
    folder = os.path.join(run, 'eval', 'test')
    os.makedirs(folder)
    files.write_json(os.path.join(folder, 'mistakes.json'), [
        {'index': 3, 'label': 0, 'predicted': 2, 'probability': 0.987}])
    with open(os.path.join(folder, 'metrics.jsonl'), 'w') as stream:
        stream.write('{"step": 60, "images": 40, "accuracy": 0.6, "confusion": '
                     '[[6, 4, 0, 0], [0, 10, 0, 0], [0, 0, 10, 0], [0, 0, 0, 10]]}\n'
                     '{"step": 60, "images": 40, "accuracy": 0.25, "weights": "raw", "confusion": '
                     '[[0, 10, 0, 0], [0, 10, 0, 0], [0, 10, 0, 0], [0, 10, 0, 0]]}\n')
    return run


def read(run):
    """Write and return the report."""
    path = run_report.write(run)
    assert path == os.path.join(run, 'report.html')
    with open(path, encoding='utf-8') as stream:
        return stream.read()


def test_a_report_shows_the_run(run, monkeypatch):
    monkeypatch.setattr(runs, 'is_running', lambda run: True)
    text = read(run)
    assert f'http-equiv="refresh" content="{run_report.RELOAD_SECS}"' in text
    for shown in ('step 60 of 100', '>running<', 'test accuracy', '60.00 <small>% at step 60',
                  'operations per image', 'Learning rate', '98.7&nbsp;%', 'data:image/png;base64,',
                  '(recipe: 0.1)', '<code>learning_rate=0.05</code>', 'test, epoch 3: 60 %',
                  'predicted as', 'time left, about', '30 <small>s</small>'):
        assert shown in text, shown
    assert 'python &lt;u&gt;' in text  # versions


def test_a_report_says_why_it_has_no_pictures(run, monkeypatch):
    def fail(*unused):
        raise UserError('x.bin: missing <b>\n')
    monkeypatch.setattr(run_facts, 'mistakes', fail)
    text = read(run)
    assert '<h2>Worst mistakes</h2>' in text and '<div class="pictures">' not in text
    assert 'No pictures: x.bin: missing &lt;b&gt;\\n' in text
    monkeypatch.setattr(run_facts, 'mistakes', lambda *unused: [])
    assert 'Worst mistakes' not in read(run)


def test_a_report_of_a_training_that_ended_does_not_reload(run):
    assert 'refresh' not in read(run)  # killed: it says running, and nothing holds the lock
    assert 'class="state killed"' in read(run)
    runs.write_status(run, state='done')
    assert 'class="state done"' in read(run)


def test_hostile_names_stay_text(run):
    text = read(run)
    assert text.count('<script') == 1 and 'onerror=alert(1)>' not in text
    assert not re.search(r'<(i|b|u)>(?!\w+</b>|\\?\S)', text.split('<h2>Worst')[0])
    assert '&lt;script&gt;alert(1)&lt;/script&gt;' in text and '\x1b' not in text
    assert os.listdir(os.path.dirname(run)) == [os.path.basename(run)]


def test_a_run_without_anything_has_a_report(tmp_path):
    run = str(tmp_path / 'run')
    runs.create('', 'tuto', run)
    runs.write_config(run, Config('tuto', overrides.get_recipe('tutorial'), 100),
                      {'classes': ['a', 'b']})
    text = read(run)
    assert 'No evaluation yet' in text and 'As the recipe tutorial says' in text


def test_a_report_is_renewed_no_more_often_than_it_reloads(run, monkeypatch):
    written, now = [], [1000.]
    monkeypatch.setattr(run_report, 'write', written.append)
    monkeypatch.setattr(run_report.time, 'monotonic', lambda: now[0])
    for seconds in (0, 1, run_report.RELOAD_SECS - 1, 1, run_report.RELOAD_SECS):
        now[0] += seconds
        run_report.observer(run, {}, None)
    assert len(written) == 3


def test_a_report_that_cannot_be_written_is_a_note(run, monkeypatch, capsys, tmp_path):
    assert run_report.write(str(tmp_path)) == ''
    assert 'no config.json' in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, 'permafrost.experiments.reports.page', None)
    monkeypatch.setattr(run_report.files, 'write_atomically', lambda *unused: 1 / 0)
    assert run_report.write(run) == ''
    note, = capsys.readouterr().out.splitlines()
    assert note.startswith('note: ') and 'report.html is not written' in note


def test_without_a_library_the_training_goes_on(run, monkeypatch, capsys):
    for name in [name for name in sys.modules
                 if name.startswith('permafrost.experiments.reports.') or name == 'jinja2']:
        if not name.endswith('run_report'):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'jinja2', None)
    import permafrost.experiments.reports
    monkeypatch.delattr(permafrost.experiments.reports, 'page', raising=False)
    run_report.observer(run, {}, None)
    note, = capsys.readouterr().out.splitlines()
    assert 'jinja2' in note and 'make setup' in note


@pytest.mark.skipif(not chromium.PROGRAM, reason='needs chromium')
def test_a_browser_shows_the_report_and_asks_for_nothing(run, tmp_path):
    read(run)
    with chromium.Browser(str(tmp_path / 'profile')) as browser:
        for width, dark in ((1200, False), (400, True)):
            browser.open(os.path.join(run, 'report.html'), width, dark)
            assert browser.run('document.documentElement.scrollWidth') <= width
            assert browser.run('getComputedStyle(document.body).backgroundColor') == (
                'rgb(13, 17, 23)' if dark else 'rgb(255, 255, 255)')
        assert browser.run('document.querySelectorAll("figure svg").length') == 4
        assert browser.run('document.querySelector(".pictures img").naturalWidth') == 32
        assert browser.run('document.querySelector("h1").textContent').endswith('<i>\\n')
        assert {request.partition(':')[0] for request in browser.requests} <= {'file', 'data'}
        assert len([each for each in browser.requests if each.startswith('file')]) == 2
        assert browser.errors == []

"""Entries of a comparison: read from runs and results."""

import dataclasses
import os

import pytest

from permafrost import files, runs
from permafrost.cluster import cluster_spec
from permafrost.config import Config
from permafrost.errors import UserError
from permafrost.evaluation import history
from permafrost.experiments.comparison import entries, selection
from permafrost.experiments.comparison.selection import Selected
from permafrost.recipes import overrides
from tests.processes import ROOT


@pytest.fixture()
def run(folder):
    return str(folder / 'study/runs/learning_rate=0.01/seed2')


def evaluated(run, *lines):
    """Write lines of metrics.jsonl, json or text."""
    os.makedirs(os.path.join(run, 'eval', 'test'), exist_ok=True)
    with open(os.path.join(run, 'eval', 'test', 'metrics.jsonl'), 'w') as stream:
        for line in lines:
            stream.write(line if isinstance(line, str)
                         else files.json_text(line).replace('\n', ' ') + '\n')


def test_a_run_tells_its_settings_and_state(run):
    entry = entries.read_run(Selected(run, 'x'))
    assert (entry.model, entry.seed, entry.variant, entry.classes) == ('tiny', 2, 'x', 10)
    assert entry.is_finished and (entry.step, entry.steps) == (4, 4)
    assert entry.settings['learning_rate'] == '0.01' and 'learning_rate' in entry.changed
    assert entry.settings['augmentation'] == 'crop,flip,brightness,contrast'
    assert 'augmentation' not in entry.changed and entry.accuracy is None


def test_states(folder):
    killed = entries.read_run(Selected(str(folder / 'runs/tiny/killed')))
    assert killed.progress() == 'killed, step 3 of 4' and not killed.is_finished
    with runs.lock(killed.path):
        assert entries.read_run(Selected(killed.path)).state == 'running'
    os.unlink(os.path.join(killed.path, 'status.json'))
    assert entries.read_run(Selected(killed.path)).state == 'empty'


@pytest.mark.parametrize('name, value', [
    ('validation', 5), ('teacher', 'a.pb'), ('init_from', 'tuto'), ('freeze', 'conv'),
    ('earlier_compute_dtype', 'bfloat16 to step 2'), ('patience', 3), ('source', 'stream'),
    ('average_statistics', False)])
def test_a_setting_that_makes_a_row_of_its_own_is_shown(run, name, value):
    config, extra = runs.read_config(run)
    new = dataclasses.replace(config, average_statistics=True)
    for changes, is_changed in (({}, False), ({name: value}, True)):
        runs.write_config(run, dataclasses.replace(new, **changes), extra)
        entry = entries.read_run(Selected(run))
        assert (name in entry.changed) == is_changed and name in entry.settings


def test_a_training_on_a_cluster_makes_a_row_of_its_own(run):
    for spec, mode, backups, expected in (
            ((), 'async', 0, 'none'), (('a:1',), 'async', 0, 'async 1 worker'),
            (('a:1', 'b:1', 'c:1'), 'sync', 1, 'sync 3 workers 1 backup')):
        if spec:
            cluster_spec.save_cluster_json(
                run, cluster_spec.ClusterSpec(('p:1',), spec), mode, backups, 1)
        entry = entries.read_run(Selected(run))
        assert entry.settings['cluster'] == expected
        assert ('cluster' in entry.changed) == bool(spec)


def test_the_accuracy_is_that_of_the_last_step_and_the_runs_weights(run):
    entry = entries.read_run(Selected(run))
    line = {'step': 4, 'accuracy': 0.5, 'images': 500, 'weights': 'averaged'}
    evaluated(run, dict(line, accuracy=0.1), line, dict(line, weights='raw', accuracy=0.9),
              dict(line, step=3, accuracy=0.8), '{"half', '\n', '["<script>"]\n',
              dict(line, step=3, accuracy=0.7, weights='raw'), dict(line, accuracy=7))
    found = entries.with_accuracy(entry, 'test')
    assert (found.accuracy, found.images) == (0.5, 500)
    assert entries.last_accuracy(entry) == (0.5, 'test'), 'not that of an earlier step'
    del line['weights']  # of an early run
    evaluated(run, line)
    assert entries.with_accuracy(entry, 'test').accuracy == 0.5
    evaluated(run, dict(line, step=3))
    assert entries.with_accuracy(entry, 'test').accuracy is None


def test_an_accuracy_of_another_dataset_is_not_the_runs(run):
    own = runs.read_config(run)[1]['dataset_identity']
    line = {'step': 4, 'accuracy': 0.5, 'images': 500, 'weights': 'averaged'}
    other = dict(line, accuracy=0.9, dataset_identity='f' * 64)
    for first in (line, dict(line, dataset_identity=own)):
        evaluated(run, first, other)
        entry = entries.read_run(Selected(run))
        assert entries.with_accuracy(entry, 'test').accuracy == 0.5
        assert entries.last_accuracy(entry) == (0.5, 'test')
    config, extra = runs.read_config(run)
    del extra['dataset_identity']  # of an early run
    runs.write_config(run, config, extra)
    assert entries.last_accuracy(entry) == (0.9, 'test')


def test_a_curve_is_that_of_results_csv(run):
    with open(os.path.join(run, 'results.csv'), 'w') as stream:
        stream.write('epoch,step,train_loss,train_accuracy,eval_split,eval_loss,eval_accuracy,'
                     'learning_rate,images_per_second,train_seconds\n'
                     '1,2,2.5,0.2,test,2.4,0.25,0.1,100,1\n2,4,2.25,0.3,test,2.2,0.35,0.1,100,2\n')
    curve = entries.read_run(Selected(run)).curve
    assert (curve.seed, curve.epochs, curve.train_losses) == (2, (1, 2), (2.5, 2.25))
    assert (curve.eval_losses, curve.eval_accuracies) == ((2.4, 2.2), (0.25, 0.35))
    assert curve.split == 'test'


def test_another_content_of_a_dataset_or_teacher_makes_a_row_of_its_own(run):
    config, extra = runs.read_config(run)
    packed = dataclasses.replace(config, dataset='tfrecords', data_dir='/flowers')
    runs.write_config(run, packed, dict(extra, dataset_identity='a' * 64, teacher_sha256='b' * 64))
    entry = entries.read_run(Selected(run))
    assert entry.settings['dataset_identity'] == 'a' * 12
    assert entry.settings['teacher_sha256'] == 'b' * 12
    assert set(entries.IDENTITIES) <= set(entry.changed)
    runs.write_config(run, config, extra)  # the files of CIFAR-10 are always the same
    entry = entries.read_run(Selected(run))
    assert entry.settings['dataset_identity'] == '' and not {*entries.IDENTITIES} & {*entry.changed}


def test_a_run_of_another_version_is_one_line(folder):
    with pytest.raises(UserError, match='damaged') as error:
        entries.read_run(Selected(str(folder / 'runs/tiny/foreign')))
    assert '\n' not in str(error.value)


def test_a_result_gives_an_entry_for_each_seed():
    path = os.path.join(ROOT, 'results', 'sprint-sprint-400.json')
    found = entries.read_result(Selected(path, is_result=True))
    assert [entry.seed for entry in found] == list(range(1, len(found) + 1)) and len(found) >= 3
    assert all(entry.model == 'sprint' and 0.9 < entry.accuracy < 0.96 and entry.params
               and not entry.is_run and not entry.changed for entry in found)


@pytest.mark.parametrize('fields, changed', [
    ({}, ()), ({'steps': 250, 'epochs': 5.0}, ('steps',)), ({'weights': 'averaged'}, ('weights',)),
    ({'versions': None}, ())])
def test_a_result_tells_another_length_and_other_weights(tmp_path, fields, changed):
    result = {**files.read_json(os.path.join(ROOT, 'results', 'sprint-sprint-400.json')), **fields}
    files.write_json(str(tmp_path / 'x.json'), {
        name: value for name, value in result.items() if value is not None})
    for entry in entries.read_result(Selected(str(tmp_path / 'x.json'), is_result=True)):
        assert entry.changed == changed


def test_all_recorded_results_are_as_long_as_their_recipes():
    selected, _ = selection.select([os.path.join(ROOT, 'results')])
    assert not [each.path for each in selected for entry in entries.read_result(each)
                if 'steps' in entry.changed]


def test_every_setting_is_compared_or_known_not_to_matter():
    """A new field of Config is compared unless NOT_COMPARED names it."""
    names = set(Config('tuto', overrides.get_recipe('tutorial'), 1).to_json())
    assert set(entries.NOT_COMPARED) <= names
    assert {'model', 'steps', 'dataset', 'validation', 'init_from', 'freeze'} <= (
        names - set(entries.NOT_COMPARED))


def test_the_newest_line_counts_in_a_file_of_any_length(run, monkeypatch):
    monkeypatch.setattr(history, 'MAX_BYTES', 4000)
    entry = entries.read_run(Selected(run, 'x'))
    evaluated(run, *({'step': step, 'accuracy': step / 100, 'images': 500, 'weights': 'averaged',
                      'more': 'x' * 1000} for step in range(20)), '{"step"')
    assert entries.last_accuracy(entry) == (0.19, 'test')

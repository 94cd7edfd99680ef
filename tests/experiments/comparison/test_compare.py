"""Comparisons of real runs: evaluated, frozen, timed; what cannot be is a line."""

import hashlib
import json
import os
import shutil
import statistics

import pytest

from permafrost import engines, files, runs
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import evaluator
from permafrost.experiments import latency
from permafrost.experiments.comparison.compare import compare
from permafrost.export.conversion import exporting
from tests import networks
from tests.experiments.comparison.conftest import HOSTILE
from tests.processes import ROOT


@pytest.fixture()
def measured(monkeypatch):
    """Leave out the program in C++, which test_latency.py runs; return the graphs to time."""
    graphs = []

    def time_in_turn(paths):
        graphs.extend(paths)
        return {path: latency.Latency(0.5, 3, 'tf2', '2.21.0') for path in paths}
    monkeypatch.setattr(latency, 'time_in_turn', time_in_turn)
    return graphs


def test_a_study_is_evaluated_frozen_and_compared(folder, measured, capsys):
    comparison = compare([str(folder / 'study')])
    baseline, slower = comparison.rows
    assert (baseline.name, slower.name) == ('baseline', 'learning_rate=0.01')
    assert comparison.settings == ('learning_rate',) and comparison.split == 'test'
    assert baseline.settings == {'learning_rate': '0.05'}
    assert baseline.seeds == (1, 2) and baseline.images == 500
    assert baseline.mean == pytest.approx(statistics.mean(baseline.accuracies))
    assert baseline.std == pytest.approx(statistics.stdev(baseline.accuracies))
    assert baseline.difference is None and slower.difference.method in ('welch', 'binomial')
    assert slower.difference.value == pytest.approx(slower.mean - baseline.mean)
    assert baseline.recipe == slower.recipe == 'tutorial'
    assert baseline.params == slower.params > 0 and baseline.train_seconds >= 0
    assert len(measured) == 2 and baseline.bytes == os.path.getsize(measured[0])
    assert baseline.latency == 0.5 and '3 rounds' in comparison.latency_of
    for run in baseline.runs:
        assert os.path.exists(os.path.join(run, 'eval', 'test', 'metrics.jsonl'))
    assert os.path.exists(os.path.join(baseline.runs[0], 'latency.json'))
    assert comparison.notes[0].startswith('left out: ') and 'momentum=2' in comparison.notes[0]
    assert not capsys.readouterr().out, 'stdout is for the table'


def test_a_graph_of_an_earlier_step_is_noted(folder, measured):
    run = str(folder / 'study/runs/baseline/seed1')
    compare([run])
    path = os.path.join(run, 'tiny.json')
    files.write_json(path, dict(files.read_json(path), step=2))
    note, = compare([run]).notes
    assert 'tiny.pb: frozen at step 2, but the run is at step 4: its size and latency are' in note


def test_without_measuring_nothing_is_written(folder):
    before = sorted(str(path) for path in folder.rglob('*'))
    comparison = compare([str(folder / 'study')], measure=False)
    assert comparison.rows[0].accuracies == () and comparison.rows[0].params
    assert comparison.rows[0].notes == ('seed 1: done, step 4 of 4, not evaluated',
                                        'seed 2: done, step 4 of 4, not evaluated')
    assert comparison.rows[0].bytes is None and comparison.rows[1].difference is None
    assert sorted(str(path) for path in folder.rglob('*')) == before


def test_an_accuracy_that_cannot_be_recorded_is_shown(folder, measured, monkeypatch):
    def fail(*unused):
        raise OSError(30, 'Read-only file system')
    monkeypatch.setattr(evaluator.Evaluator, '_record', fail)
    baseline = compare([str(folder / 'study')]).rows[0]
    assert len(baseline.accuracies) == 2 and baseline.images == 500


def test_a_changed_dataset_is_not_evaluated(folder, measured):
    run = str(folder / 'study/runs/baseline/seed1')
    config, extra = runs.read_config(run)
    runs.write_config(run, config, dict(extra, dataset_identity='0' * 64))
    comparison = compare([run])
    assert comparison.rows[0].mean is None
    assert any('not evaluated: its dataset has changed: restore' in each
               for each in comparison.notes)


def test_an_unknown_baseline_is_refused_before_anything_is_evaluated(folder):
    with pytest.raises(UsageError, match='no row'):
        compare([str(folder / 'study')], baseline='nonesuch')
    assert not list(folder.glob('study/runs/*/*/eval/test/metrics.jsonl'))


def test_the_time_of_two_kinds_of_hardware_has_no_mean(folder, measured):
    both = [str(folder / 'study/runs/baseline' / name) for name in ('seed1', 'seed2')]

    def trained_on(run, *gpus):
        config, extra = runs.read_config(run)
        runs.write_config(run, config, dict(extra, versions=[
            dict(extra['versions'][0], gpu=gpu) for gpu in gpus]))
        runs.write_status(run, train_seconds=90.)

    for gpus, expected in (([('H100',), ('H100',)], (90., 'H100')),
                           ([('',), ('',)], (90., '')),
                           ([('H100',), ('',)], (None, '')),
                           ([('H100', ''), ('H100',)], (None, ''))):
        for run, names in zip(both, gpus):
            trained_on(run, *names)
        row, = compare(both).rows
        assert (row.train_seconds, row.gpu) == expected, gpus


def test_every_run_has_its_line(folder, measured):
    comparison = compare([str(folder / 'runs'), str(folder / 'study')], by_run=True)
    assert any('foreign' in note and 'damaged' in note for note in comparison.notes)
    killed = next(row for row in comparison.rows if 'killed' in ''.join(row.runs))
    assert killed.notes == ('seed 1: killed, step 3 of 4',) and killed.mean is None
    assert len(comparison.rows) == 6  # with the hostile folder
    assert all('\n' not in note for note in comparison.notes)


def test_a_damaged_run_does_not_end_the_comparison(folder, measured):
    for path in (folder / 'study/runs/baseline/seed1/train').iterdir():
        path.write_bytes(b'')
    comparison = compare([str(folder / 'study')])
    assert comparison.rows[0].seeds == (2,)
    assert any('seed1: not evaluated: ' in note for note in comparison.notes)


def test_a_hostile_folder_is_written_into_and_nowhere_else(folder, measured):
    run = folder / 'runs' / 'tiny' / HOSTILE
    before = {path for path in folder.rglob('*') if HOSTILE not in str(path)}
    comparison = compare([str(run)])
    assert not comparison.notes
    assert comparison.rows[0].bytes == os.path.getsize(str(run / 'tiny.pb'))
    assert {path for path in folder.rglob('*') if HOSTILE not in str(path)} == before
    assert '\n' not in comparison.title and '\x1b' not in comparison.title


@pytest.mark.parametrize('change, zeros, left', [
    ('sparsity=0.5', .5, 1.),
    pytest.param('structured_sparsity=0.5', 0., .6, marks=pytest.mark.slow)])
def test_a_pruned_run_has_the_counts_of_its_graph(folder, measured, synthetic, change, zeros, left):
    networks.train(synthetic, folder / 'pruned', 4, 'tiny', changes=[
        change, 'prune_epochs=0.001', 'spared_layers=none'])
    killed, structured = str(folder / 'runs/tiny/killed'), change.startswith('structured')
    row, = compare([str(folder / 'pruned')], measure=False).rows
    assert (row.ops is None) == structured  # freezing removes filters
    dense, pruned = compare([killed, str(folder / 'pruned')], baseline=killed).rows
    assert pruned.ops <= left * dense.ops + 1 and dense.sparsity is None
    assert pruned.sparsity == pytest.approx(zeros, abs=.01)
    assert pruned.gzip_bytes < dense.gzip_bytes and dense.gzip_bytes <= dense.bytes
    row, = compare([str(folder / 'pruned')], measure=False).rows
    assert not structured or row.ops == pruned.ops


def test_results_are_compared_as_they_were_recorded():
    comparison = compare([os.path.join(ROOT, 'results')], measure=False)
    sprint = next(row for row in comparison.rows if row.model == 'sprint')
    assert sprint.seeds == tuple(range(1, 11))
    recorded = files.read_json(os.path.join(ROOT, 'results', 'sprint-sprint-400.json'))
    assert sprint.mean == pytest.approx(statistics.mean(recorded['accuracy']['values']))
    assert {'model', 'recipe'} <= set(comparison.settings) and not comparison.notes
    with pytest.raises(UserError, match='only test accuracies: leave out --split, or name only'):
        compare([os.path.join(ROOT, 'results')], split='validation')


def test_a_pruned_result_has_its_own_counts():
    rows = compare([os.path.join(ROOT, 'results', 'pruning')], measure=False).rows
    pruned = next(row for row in rows if row.settings['structured_sparsity'] != '0')
    assert pruned.ops == 11435832 and {row.ops for row in rows if row != pruned} == {22836024}


def write_study(folder, **variants):
    files.write_json(str(folder / 'study' / 'study.json'), {
        'seeds': [1, 2], 'vary': {'learning_rate': [0.01]}, 'variants': variants})


def test_an_exported_file_is_a_row_with_its_own_accuracy_and_size(folder, measured, monkeypatch):
    """It shares the trainings of the variant that trains the same."""
    def export(path, targets, dataset, session_config, max_loss):
        file, = (target.path(path) for target in targets)
        assert dataset.counts['test'] == 500 and max_loss == 100
        with open(path, 'rb') as stream:
            checksum = hashlib.sha256(stream.read()).hexdigest()
        files.write_atomically(file, 'x' * 77)
        files.write_json(file + '.json', {
            'accuracy': 0.25 if 'seed1' in path else 0.75, 'images': 500, 'bytes': 77,
            'source': {'sha256': checksum}})

    monkeypatch.setattr(exporting, 'export', export)
    write_study(folder, int8={'export': 'int8.tflite'})
    comparison = compare([str(folder / 'study')])
    dense, int8, slower = comparison.rows
    assert [row.name for row in comparison.rows] == ['baseline', 'int8', 'learning_rate=0.01']
    assert comparison.settings == ('learning_rate', 'export')
    assert (dense.settings['export'], int8.settings['export']) == ('pb', 'int8.tflite')
    assert int8.accuracies == (0.25, 0.75) and int8.seeds == (1, 2) and int8.runs == dense.runs
    assert int8.bytes == 77 and dense.bytes > 77 and int8.latency == 0.5
    assert int8.difference.value == pytest.approx(0.5 - dense.mean)
    assert [os.path.basename(path) for path in measured] == [
        'tiny.pb', 'tiny.int8.tflite', 'tiny.pb']
    with open(os.path.join(dense.runs[0], 'latency.json')) as stream:  # of the .pb
        assert json.load(stream)['sha256'] != hashlib.sha256(b'x' * 77).hexdigest()
    monkeypatch.setattr(exporting, 'export', None)  # they are made once
    assert compare([str(folder / 'study')]).rows[1].accuracies == (0.25, 0.75)
    held_out = compare([str(folder / 'study')], split='validation', measure=False)
    assert any('tiny.int8.tflite: measured on test images only' in note
               for note in held_out.notes)
    described = os.path.join(dense.runs[0], 'tiny.json')
    frozen = files.read_json(described)
    for change, note in (({'weights': 'raw'}, 'made of the raw weights, but the run is judged by'),
                         ({'dataset_identity': 'f' * 64}, 'measured on another dataset than')):
        files.write_json(described, {**frozen, **change})
        other = compare([str(folder / 'study')], measure=False)
        assert other.rows[1].accuracies == (0.75,)
        assert any(f'seed1/tiny.int8.tflite: {note}' in each for each in other.notes)
    files.write_json(described, frozen)
    exported = os.path.join(dense.runs[0], 'tiny.int8.tflite.json')
    measured_before = files.read_json(exported)
    files.write_json(exported, dict(measured_before, dataset_identity='f' * 64))
    other = compare([str(folder / 'study')], measure=False)
    assert other.rows[1].accuracies == (0.75,)
    assert any('seed1/tiny.int8.tflite: measured on another dataset than' in each
               for each in other.notes)
    files.write_json(exported, measured_before)
    runs.write_status(dense.runs[0], step=5)  # it was continued
    continued = compare([str(folder / 'study')], measure=False)
    assert continued.rows[1].accuracies == (0.75,)
    assert any('seed1/tiny.int8.tflite: made at step 4, but the run is at step 5' in note
               for note in continued.notes)


def test_a_file_that_cannot_be_made_is_a_line(folder, measured, monkeypatch):
    def fail(*unused, **options):
        raise UserError('litert is broken')
    monkeypatch.setattr(exporting, 'export', fail)
    write_study(folder, int8={'export': 'int8.tflite'})
    comparison = compare([str(folder / 'study')])
    assert comparison.rows[1].mean is None and comparison.rows[1].bytes is None
    assert any('seed2/tiny.int8.tflite: not made: litert is broken' in note
               for note in comparison.notes)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists(os.path.join(ROOT, '.venv', 'litert')),
                    reason='needs tools/setup.sh litert')
def test_a_real_file_is_made_and_measured(folder, measured):
    for run in (folder / 'study' / 'runs').glob('*/seed2'):
        shutil.rmtree(str(run))
    write_study(folder, int8={'export': 'int8.tflite'})
    dense, int8, _ = compare([str(folder / 'study')]).rows
    assert abs(int8.mean - dense.mean) < 0.05 and int8.images == 500
    assert int8.bytes < dense.bytes and measured[1].endswith('/tiny.int8.tflite')


def test_runs_without_validation_are_told(folder):
    comparison = compare([str(folder / 'study')], split='validation', measure=False)
    assert comparison.rows[0].mean is None
    assert sum('held no images out' in note for note in comparison.notes) == 4


def test_nothing_to_compare_is_an_error(folder):
    with pytest.raises(UserError, match='damaged'):
        compare([str(folder / 'runs/tiny/foreign')])


@pytest.mark.slow
def test_a_comparison_is_timed_by_label_image(folder, monkeypatch):
    monkeypatch.setattr(latency, 'MAX_ROUNDS', latency.MIN_ROUNDS)
    comparison = compare([str(folder / 'study')])
    first, second = (row.latency for row in comparison.rows)
    assert 0 < first < 1000 and 0 < second < 1000  # no test on time: see docs/experiments.md
    assert engines.installed() in open(
        os.path.join(comparison.rows[0].runs[0], 'latency.json')).read()

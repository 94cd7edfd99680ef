"""Evaluation while training: rows, the best checkpoint, early stopping, kills, observers."""

import csv
import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation import evaluation_hook, history
from permafrost.evaluation.evaluator import Evaluator
from permafrost.training import loop
from permafrost.training.checkpoints import finding, saving
from tests import networks
from tests.evaluation.helpers import evaluate

ONE_THREAD = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)


def train(dataset, run, steps, observers=(), validation=100, **options):
    """Train `tiny` with evaluations; return the exit code."""
    options = dict(dict(eval_epochs=.5, deterministic=True, save_steps=7), **options)
    data = loading.hold_out(dataset, validation, 1)
    with networks.registered():
        setup = networks.train_setup(data, run, steps, validation=validation, **options)
        return loop.train(setup, ONE_THREAD, extra_hooks=evaluation_hook.in_training(observers))


def untimed(run):
    """Return the rows of `run` without their times."""
    return [dataclasses.replace(row, images_per_second=0., train_seconds=0.)
            for row in history.read(str(run))]


@pytest.fixture(scope='module')
def whole(synthetic, tmp_path_factory):
    """A deterministic run of 60 steps, evaluated every half epoch: 8.4 steps."""
    run = str(tmp_path_factory.mktemp('whole') / 'run')
    assert train(synthetic, run, 60, max_to_keep=0) == 0
    return run


def test_rows_come_every_half_epoch_and_at_the_end(whole, synthetic):
    rows = history.read(whole)
    assert [row.step for row in rows] == [9, 17, 26, 34, 43, 51, 60]
    np.testing.assert_allclose([row.epoch for row in rows],
                               [row.step * 32 / 540 for row in rows], atol=1e-4)
    assert {row.eval_split for row in rows} == {'validation'}
    assert rows[-1].eval_accuracy > rows[0].eval_accuracy
    assert rows[-1].train_loss < rows[0].train_loss
    assert all(first.train_seconds < second.train_seconds and second.images_per_second > 0
               for first, second in zip(rows, rows[1:]))
    status = runs.read_status(whole)
    assert status['best_step'] == history.best(rows).step
    assert status['best_accuracy'] == history.best(rows).eval_accuracy


def test_a_row_has_what_eval_py_finds(whole):
    with networks.registered():
        for row in history.read(whole)[:3]:
            metrics = evaluate(whole, row.step, split='validation')
            assert metrics['images'] == 100
            assert metrics['accuracy'] == row.eval_accuracy
            np.testing.assert_allclose(metrics['cross_entropy'], row.eval_loss, rtol=1e-5)


def test_the_training_loss_is_the_mean_of_the_steps(synthetic, tmp_path, whole):
    losses = []

    class Recorder(tf.train.SessionRunHook):
        def __init__(self, training):
            self.fetches = training.graph.scalars['cross_entropy']

        def before_run(self, unused_context):
            return tf.train.SessionRunArgs(self.fetches)

        def after_run(self, unused_context, values):
            losses.append(float(values.results))

    with networks.registered():
        setup = networks.train_setup(loading.hold_out(synthetic, 100, 1), tmp_path / 'run', 17,
                                     validation=100, deterministic=True)
        loop.train(setup, ONE_THREAD, extra_hooks=lambda training: [Recorder(training)])
    rows = history.read(whole)
    np.testing.assert_allclose(rows[0].train_loss, np.mean(losses[:9]), rtol=1e-6)
    np.testing.assert_allclose(rows[1].train_loss, np.mean(losses[9:17]), rtol=1e-6)


class Killed(BaseException):
    """Stands for SIGKILL: nothing is saved or cleaned up after it."""


def kill_at(monkeypatch, owner, name, call):
    """Raise Killed in the call number `call` of a function."""
    function, calls = getattr(owner, name), []

    def killed(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return function(*arguments, **options)
    monkeypatch.setattr(owner, name, killed)


@pytest.mark.parametrize('owner, name, call', [
    (saving, 'save', 4),  # after the sums, before the checkpoint
    (Evaluator, 'evaluate', 3),  # after the checkpoint, before the row
    pytest.param(history, 'write', 5, marks=pytest.mark.slow)])  # after the metrics
def test_a_killed_training_gives_the_same_rows(
        synthetic, tmp_path, whole, monkeypatch, owner, name, call):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, owner, name, call)
        train(synthetic, tmp_path, 60)
    assert len(untimed(tmp_path)) < 7
    assert train(synthetic, tmp_path, 60, resume=True) == 0
    assert untimed(tmp_path) == untimed(whole)


def test_rows_of_steps_that_are_undone_are_dropped(synthetic, tmp_path, whole):
    run = shutil.copytree(whole, str(tmp_path / 'run'))
    for path in finding.list_checkpoints(run).values():
        if int(path.rsplit('-', 1)[1]) > 28:
            os.remove(path + '.index')
    assert train(synthetic, run, 60, resume=True) == 0
    assert untimed(run) == untimed(whole)


def test_a_run_that_was_not_evaluated_has_no_training_loss_at_first(synthetic, tmp_path, capsys):
    """As one of an earlier version: the steps before were not counted."""
    train(synthetic, tmp_path, 10, eval_epochs=0.)
    train(synthetic, tmp_path, 20, resume=True)
    first, *others = history.read(str(tmp_path))
    assert (first.step, first.train_loss, first.train_accuracy) == (10, None, None)
    assert others and None not in [row.train_loss for row in others]
    assert 'epoch 0.5926, step 10: ' in capsys.readouterr().out.split('; training unknown')[0]


def test_a_kill_in_the_last_evaluation_leaves_a_run_to_resume(synthetic, tmp_path, whole,
                                                              monkeypatch, capsys):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, Evaluator, 'evaluate', 7)
        train(synthetic, tmp_path, 60)
    assert finding.last_step(str(tmp_path)) == 60
    assert train(synthetic, tmp_path, 60, resume=True) == 0
    assert untimed(tmp_path) == untimed(whole)
    assert train(synthetic, tmp_path, 60, resume=True) == 0
    assert 'nothing to do' in capsys.readouterr().out


def test_a_signal_ends_an_evaluation_and_resuming_makes_it(synthetic, tmp_path, whole,
                                                           monkeypatch):
    load = loading.load

    def load_slowly(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return load(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loading, 'load', load_slowly)
        assert train(synthetic, tmp_path, 60) == 143
    assert untimed(tmp_path) == [] and finding.last_step(str(tmp_path)) == 9
    assert runs.read_status(str(tmp_path))['state'] == 'stopped'
    assert train(synthetic, tmp_path, 60, resume=True) == 0
    assert untimed(tmp_path) == untimed(whole)


def test_a_hook_that_has_ended_ends_no_second_time(synthetic, tmp_path, whole, monkeypatch):
    """In a cluster FinishHook ends it first, and the session ends it again."""
    end = evaluation_hook.EvaluationHook.end

    def end_twice(hook, session):
        end(hook, session)
        last_step, hook._last_step = hook._last_step, 0
        end(hook, session)
        hook._last_step = last_step
        assert not hook.is_behind(61)  # another worker made a step in between

    monkeypatch.setattr(evaluation_hook.EvaluationHook, 'end', end_twice)
    assert train(synthetic, tmp_path, 60) == 0
    assert untimed(tmp_path) == untimed(whole)


def test_evaluations_do_not_change_the_training(synthetic, tmp_path, whole):
    with networks.registered():
        setup = networks.train_setup(loading.hold_out(synthetic, 100, 1), tmp_path, 60,
                                     validation=100, deterministic=True)
        loop.train(setup, ONE_THREAD)
    contents = []
    for run in (whole, str(tmp_path)):
        with open(finding.find_checkpoint(run)[1] + '.data-00000-of-00001', 'rb') as stream:
            contents.append(stream.read())
    assert contents[0] == contents[1]


def test_it_stops_without_a_better_accuracy_and_keeps_the_best(synthetic, tmp_path, capsys):
    options = dict(changes=['learning_rate=1e-9'], patience=3, max_to_keep=2)
    assert train(synthetic, tmp_path, 500, **options) == 0
    rows = history.read(str(tmp_path))
    assert [row.step for row in rows] == [9, 17, 26, 34]
    output = capsys.readouterr().out
    assert ('done at step 34 (no better validation accuracy in 3 evaluations; the best checkpoint '
            'is at step 9)') in output
    assert sorted(finding.list_checkpoints(str(tmp_path))) == [9, 28, 34]
    assert finding.find_checkpoint(str(tmp_path), 'best').step == 9
    assert train(synthetic, tmp_path, 500, resume=True, **options) == 0  # it is done
    assert history.read(str(tmp_path)) == rows
    assert train(synthetic, tmp_path, 40, resume=True, **dict(options, patience=0)) == 0
    assert [row.step for row in history.read(str(tmp_path))] == [9, 17, 26, 34, 40]
    saving.delete(str(tmp_path), 9)
    assert train(synthetic, tmp_path, 60, resume=True, **dict(options, patience=0)) == 0
    assert finding.find_checkpoint(str(tmp_path), 'best').step == 40  # the best that is left


@pytest.mark.parametrize('changes, first', [
    (['sparsity=0.5', 'prune_start_epoch=1', 'prune_epochs=1', 'spared_layers=none'], 34),
    (['quantization_aware_epochs=1'], 52)])
def test_the_best_checkpoint_is_pruned_and_quantized(synthetic, tmp_path, changes, first):
    """An epoch is 16.9 steps. A denser network is more accurate, but not the one to keep."""
    changes = ['learning_rate=1e-9', 'epochs=4', *changes]  # the first row is the best of equals
    assert train(synthetic, tmp_path, 68, changes=changes, patience=1, max_to_keep=0) == 0
    rows = history.read(str(tmp_path))
    status = runs.read_status(str(tmp_path))
    assert status['best_step'] == min(row.step for row in rows if row.step >= first)
    assert rows[-1].step > status['best_step']  # patience counts from there


def test_one_evaluation_is_no_evaluations(synthetic, tmp_path, capsys):
    assert train(synthetic, tmp_path, 50, changes=['learning_rate=1e-9'], patience=1) == 0
    assert ('(no better validation accuracy in 1 evaluation; the best checkpoint is at step 9)'
            in capsys.readouterr().out)


def test_the_test_images_choose_nothing(synthetic, tmp_path):
    assert train(synthetic, tmp_path, 30, validation=0, eval_epochs=1.) == 0
    rows = history.read(str(tmp_path))
    assert [(row.step, row.eval_split) for row in rows] == [(20, 'test'), (30, 'test')]
    with networks.registered(), pytest.raises(UserError, match='has no best checkpoint'):
        finding.find_checkpoint(str(tmp_path), 'best')


def test_observers_see_each_row_and_may_fail(synthetic, tmp_path, capsys):
    seen = []

    def fail(*unused):
        raise ZeroDivisionError('of an observer')

    observers = [fail, lambda run, metrics, row: seen.append((run, metrics, row))]
    assert train(synthetic, tmp_path, 20, observers, eval_epochs=1.) == 0
    rows = history.read(str(tmp_path))
    assert [(run, row) for run, _, row in seen] == [(str(tmp_path), row) for row in rows]
    assert seen[0][1]['confusion'] and len(rows) == 2
    assert capsys.readouterr().out.count('note: after step') == 2


def test_a_dataset_without_test_images_is_trained_with_a_note(synthetic, tmp_path, capsys):
    data = synthetic._replace(counts=dict(synthetic.counts, test=0))
    assert train(data, tmp_path, 3, validation=0) == 0
    assert 'has no test images: this training is not evaluated (--validation N' in (
        capsys.readouterr().out)
    assert not (tmp_path / 'results.csv').exists()


def test_a_network_that_cannot_be_evaluated_is_trained_to_its_end(synthetic, tmp_path,
                                                                  monkeypatch, capsys):
    def fail(*unused):
        raise UserError('the network returns NaN')

    monkeypatch.setattr(Evaluator, 'evaluate', fail)
    assert train(synthetic, tmp_path, 20) == 0
    assert capsys.readouterr().out.count('is not evaluated: the network returns NaN') == 3
    assert history.read(str(tmp_path)) == []


def test_evaluation_takes_no_training_time(synthetic, tmp_path, monkeypatch):
    """Evaluations that take hours leave seconds of training."""
    evaluate_, hours = Evaluator.evaluate, []

    def evaluate_slowly(*arguments):
        hours.append(1)
        return evaluate_(*arguments)

    monotonic = evaluation_hook.time.monotonic
    for module in (evaluation_hook, loop.checkpoint_hook, loop.hooks):
        monkeypatch.setattr(module, 'time', type('Time', (), dict(
            vars(module.time), monotonic=staticmethod(lambda: monotonic() + 3600 * len(hours)))))
    monkeypatch.setattr(Evaluator, 'evaluate', evaluate_slowly)
    assert train(synthetic, tmp_path, 30, save_secs=0) == 0
    assert len(hours) > 2
    rows = history.read(str(tmp_path))
    assert rows[-1].train_seconds < 600 and rows[-1].images_per_second > 1
    assert runs.read_status(str(tmp_path))['train_seconds'] < 600


def test_a_lost_status_leaves_the_training_time(synthetic, tmp_path, whole):
    run = shutil.copytree(whole, str(tmp_path / 'run'))
    rows = [dataclasses.replace(row, train_seconds=1000. + row.step) for row in history.read(run)]
    history.write(run, rows)
    os.remove(os.path.join(run, 'status.json'))
    assert train(synthetic, run, 77, resume=True) == 0
    last = history.read(run)[-1]
    assert last.step == 77 and 1060 < last.train_seconds < 1600
    assert last.images_per_second < 17 * 32 / .001  # of these steps alone


def test_metrics_of_steps_that_are_made_again_are_dropped(synthetic, tmp_path):
    """Else compare.py would show an accuracy of weights that no longer exist."""
    assert train(synthetic, tmp_path, 20, eval_epochs=0.) == 0
    with networks.registered():
        evaluate(str(tmp_path), 20)
        assert next(history.newest_metrics(str(tmp_path), 'test', 'averaged'))['step'] == 20
    for step in finding.list_checkpoints(str(tmp_path)):
        saving.delete(str(tmp_path), step)
    assert train(synthetic, tmp_path, 20, eval_epochs=0., resume=True) == 0
    with networks.registered():
        assert not list(history.newest_metrics(str(tmp_path), 'test', 'averaged'))


def test_mistakes_are_the_wrong_answers_of_the_last_evaluation(whole, synthetic):
    with open(os.path.join(whole, 'eval', 'validation', 'mistakes.json')) as stream:
        mistakes = json.load(stream)
    labels = loading.load(loading.hold_out(synthetic, 100, 1), 'validation')[1]
    assert len(mistakes) <= 24
    for each in mistakes:
        assert labels[each['index']] == each['label'] != each['predicted']
        assert 0 < each['probability'] <= 1
    with open(os.path.join(whole, 'results.csv')) as stream:
        assert len(list(csv.reader(stream))) == 8

"""Evaluator: any checkpoint of a run, next to a running training, on any engine."""

import contextlib
import glob
import json
import os
import shutil
import subprocess
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import evaluator as evaluator_module
from permafrost.evaluation.evaluator import Evaluator, evaluate_new_checkpoints
from permafrost.training import checkpoints
from tests import networks, processes
from tests.evaluation.helpers import evaluate


def test_training_lowers_the_loss(run):
    assert evaluate(run, 30, weights='raw')['loss'] < evaluate(run, 0, weights='raw')['loss']


def test_metrics_best_and_summaries_are_written(run):
    directory = os.path.join(run, 'eval', 'train')
    shutil.rmtree(directory, ignore_errors=True)
    for step in (0, 30, 10):
        evaluate(run, step, split='train')
    with open(os.path.join(directory, 'metrics.jsonl')) as stream:
        lines = [json.loads(line) for line in stream]
    assert [line['step'] for line in lines] == [0, 30, 10]
    assert {line['images'] for line in lines} == {640}
    with open(os.path.join(directory, 'best.json')) as stream:
        best = json.load(stream)
    assert best['accuracy'] == max(line['accuracy'] for line in lines)
    evaluate(run, 30, split='train', weights='raw')
    with open(os.path.join(directory, 'best_raw.json')) as stream:
        assert json.load(stream)['weights'] == 'raw'
    with open(os.path.join(directory, 'best.json')) as stream:
        assert json.load(stream) == best
    summaries = [(value.tag, event.step) for path in glob.glob(os.path.join(directory, 'events*'))
                 for event in tf.train.summary_iterator(path) for value in event.summary.value]
    assert ('accuracy', 10) in summaries and ('loss', 30) in summaries


def test_a_moved_run_is_evaluated_where_it_is(run, tmp_path):
    moved = str(tmp_path / 'elsewhere' / 'run')
    shutil.copytree(run, moved)
    config, _ = runs.read_config(run)
    assert evaluate(moved, data_dir=config.data_dir)['correct'] == evaluate(run)['correct']


def test_wrong_directories_and_steps_are_refused(run, tmp_path):
    with pytest.raises(UserError, match='not a run directory'):
        Evaluator(str(tmp_path), None)
    with pytest.raises(UsageError, match=r'no checkpoint at step 5 .*: 0, 10, 20, 30'):
        evaluate(run, 5)
    with pytest.raises(UserError, match='no run under'):
        runs.latest_run(str(tmp_path))


def test_a_checkpoint_of_another_model_is_refused(run, synthetic, tmp_path):
    other = str(tmp_path / 'other')
    networks.train(synthetic, other, 1, 'squeeze0', changes=['batch_size=16'])
    for path in glob.glob(os.path.join(run, 'train', 'model.ckpt-30.*')):
        name = os.path.basename(path).replace('-30', '-1')
        shutil.copy(path, os.path.join(other, 'train', name))
    with pytest.raises(UserError, match='model.ckpt-1 does not fit this model'):
        evaluate(other)
    with pytest.raises(UserError, match='does not fit this model.*fire'):
        networks.train(synthetic, other, 9, 'squeeze0', changes=['batch_size=16'], resume=True)


@pytest.mark.slow
def test_a_running_training_is_followed_to_its_end(synthetic, tmp_path):
    run = str(tmp_path / 'run')
    training = subprocess.Popen(
        processes.train_command(synthetic, run, '--steps=120', '--save_steps=20',
                                '--max_to_keep=1'), stdout=subprocess.DEVNULL)
    try:
        while not (runs.exists(run) and checkpoints.list_checkpoints(run)):
            assert training.poll() is None
        with Evaluator(run, None) as evaluator:
            steps = [metrics['step'] for metrics in evaluate_new_checkpoints(evaluator)]
    finally:
        training.wait()
    assert steps == sorted(set(steps)) and steps[-1] == 120


@pytest.mark.parametrize('restart_timeout', [0., 1000.])
def test_it_waits_while_the_training_runs_and_saves_nothing(run, monkeypatch, restart_timeout):
    evaluator = types.SimpleNamespace(run=run, evaluate=lambda step, checkpoint: step)
    naps = []
    lock = contextlib.ExitStack()
    lock.enter_context(runs.lock(run))

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            lock.close()  # the training ends
            runs.write_status(run, state='done')

    monkeypatch.setattr(evaluator_module.time, 'sleep', sleep)
    assert list(evaluate_new_checkpoints(evaluator, restart_timeout)) == [30]
    assert len(naps) == 3


def test_a_checkpoint_that_is_deleted_meanwhile_is_skipped(run, tmp_path, monkeypatch):
    copy = str(tmp_path / 'run')
    shutil.copytree(run, copy)
    config, _ = runs.read_config(run)
    list_checkpoints = checkpoints.list_checkpoints
    deleted = os.path.join(copy, 'train', 'model.ckpt-40')
    listings = [{**list_checkpoints(copy), 40: deleted}]
    monkeypatch.setattr(checkpoints, 'list_checkpoints',
                        lambda run: listings.pop() if listings else list_checkpoints(run))
    with Evaluator(copy, None, data_dir=config.data_dir) as evaluator:
        assert list(evaluate_new_checkpoints(evaluator)) == []  # 30 is older than 40


def test_a_profile_is_a_trace(run):
    with Evaluator(run, None) as evaluator:
        evaluator.evaluate(*checkpoints.find_checkpoint(run))
        with open(evaluator.profile(30)) as stream:
            events = json.load(stream)['traceEvents']
    assert any('Conv2D' in str(event.get('name', '')) + str(event.get('args', ''))
               for event in events)


@pytest.mark.slow
def test_all_engines_evaluate_a_checkpoint_alike(run):
    """The engines that are set up agree to one image."""
    metrics = []
    for python in glob.glob(os.path.join(processes.ROOT, '.venv', 'tf*', 'bin', 'python')):
        processes.finish([python, os.path.join(processes.ROOT, 'eval.py'), '--run=' + run])
        with open(os.path.join(run, 'eval', 'test', 'metrics.jsonl')) as stream:
            metrics.append(json.loads(stream.readlines()[-1]))
    if len(metrics) < 2:
        pytest.skip('only one engine is set up: run make setup ENGINE=... for another')
    accuracies = [each['accuracy'] for each in metrics]
    losses = [each['loss'] for each in metrics]
    assert max(accuracies) - min(accuracies) <= 1 / 500
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)

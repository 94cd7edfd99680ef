"""Evaluator: any checkpoint of a run, next to a running training, on any engine."""

import contextlib
import glob
import json
import os
import shutil
import subprocess
import time
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import files, runs
from permafrost.datasets.synthetic import make_synthetic
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import evaluator as evaluator_module, history
from permafrost.evaluation.evaluator import Evaluator, evaluate_new_checkpoints
from permafrost.training.checkpoints import finding, saving
from tests import networks, processes
from tests.environment import small_disk
from tests.evaluation.helpers import evaluate


def test_training_lowers_the_loss(run):
    assert evaluate(run, 30, weights='raw')['cross_entropy'] < evaluate(
        run, 0, weights='raw')['cross_entropy']


def test_metrics_best_and_summaries_are_written(run):
    directory = os.path.join(run, 'eval', 'train')
    shutil.rmtree(directory, ignore_errors=True)
    for step in (0, 30, 10):
        evaluate(run, step, split='train')
    with open(os.path.join(directory, 'metrics.jsonl')) as stream:
        lines = [json.loads(line) for line in stream]
    assert [line['step'] for line in lines] == [0, 30, 10]
    assert {line['images'] for line in lines} == {640}
    assert {line['dataset_identity'] for line in lines} == {
        runs.read_config(run)[1]['dataset_identity']}
    with open(os.path.join(directory, 'best.json')) as stream:
        best = json.load(stream)
    assert best['accuracy'] == max(line['accuracy'] for line in lines)
    mistakes = os.stat(os.path.join(directory, 'mistakes.json'))
    evaluate(run, 30, split='train', weights='raw')
    assert os.path.samestat(mistakes, os.stat(os.path.join(directory, 'mistakes.json')))
    with open(os.path.join(directory, 'best_raw.json')) as stream:
        assert json.load(stream)['weights'] == 'raw'
    with open(os.path.join(directory, 'best.json')) as stream:
        assert json.load(stream) == best
    summaries = [(value.tag, event.step) for path in glob.glob(os.path.join(directory, 'events*'))
                 for event in tf.train.summary_iterator(path) for value in event.summary.value]
    assert ('accuracy/top1', 10) in summaries and ('loss/cross_entropy', 30) in summaries
    # `loss/total` and `speed/images_per_second` are the training's: other quantities.
    assert {tag for tag, _ in summaries} == {
        name + suffix for name in (
            'accuracy/top1', 'loss/cross_entropy', 'speed/eval_images_per_second',
            'confusion_matrix', 'worst_mistakes') for suffix in ('', '_raw')}


def test_an_evaluation_of_other_images_does_not_describe_the_run(copied, tmp_path, capsys):
    run, evaluator = copied
    directory = evaluator.directory
    evaluator.evaluate(*finding.find_checkpoint(run, 30))
    before = {name: files.read_json(os.path.join(directory, name))
              for name in ('best.json', 'mistakes.json')}
    other = make_synthetic(str(tmp_path / 'other'), train=20, test=10)
    assert evaluate(run, 30, data_dir=other.directory)['images'] == 10
    assert 'the metrics are of the changed dataset' in capsys.readouterr().out
    assert before == {name: files.read_json(os.path.join(directory, name)) for name in before}
    with open(os.path.join(directory, 'metrics.jsonl')) as stream:
        assert [json.loads(line)['images'] for line in stream] == [500, 10]


def test_half_a_line_does_not_spoil_the_next_one(copied):
    run, evaluator = copied
    os.makedirs(evaluator.directory, exist_ok=True)
    with open(os.path.join(evaluator.directory, 'metrics.jsonl'), 'wb') as stream:
        stream.write(b'{"step": 10, "accur')  # a copy that was interrupted
    evaluator.evaluate(*finding.find_checkpoint(run, 30))
    assert next(history.newest_metrics(run, 'test', 'averaged'))['step'] == 30


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
        shutil.copy(path, os.path.join(other, 'train'))
    with pytest.raises(UserError, match='model.ckpt-30 does not fit this model'):
        evaluate(other)
    with pytest.raises(UserError, match='does not fit this model.*fire'):
        networks.train(synthetic, other, 39, 'squeeze0', changes=['batch_size=16'], resume=True)


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the run without evaluations, and an Evaluator of it."""
    copy = shutil.copytree(run, str(tmp_path / 'run'), ignore=shutil.ignore_patterns('eval'))
    with Evaluator(copy, None, data_dir=runs.read_config(run)[0].data_dir) as evaluator:
        yield copy, evaluator


def test_a_damaged_best_json_is_replaced(copied, capsys):
    run, evaluator = copied
    best = os.path.join(run, 'eval', 'test', 'best.json')
    os.makedirs(os.path.dirname(best))
    for content in ['[]', 'null', '{"accuracy": "high"}', '{}', 'x', '', '{"accuracy": NaN}',
                    '{"accuracy": 2}']:
        with open(best, 'w') as stream:
            stream.write(content)
        metrics = evaluator.evaluate(*finding.find_checkpoint(run))
        with open(best) as stream:
            assert json.load(stream) == metrics, content
    assert f'note: {best} is damaged' in capsys.readouterr().err


def test_what_cannot_be_recorded_is_computed_all_the_same(copied, tmp_path, capsys):
    run, evaluator = copied
    target = tmp_path / 'elsewhere'
    target.write_text('mine')

    def write(path):
        open(path, 'w').close()

    def link(path):
        os.symlink(str(target), path)

    for name, make in [('eval', write), ('eval/test', link), ('eval/test/metrics.jsonl', link),
                       ('eval/test/metrics.jsonl', os.mkfifo), ('eval/test/best.json', os.mkdir)]:
        path = os.path.join(run, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        make(path)
        for _ in range(2):
            assert evaluator.evaluate(*finding.find_checkpoint(run))['images'] == 500
            assert not evaluator.is_recorded
        assert capsys.readouterr().out.count(f'note: nothing is recorded in {run}/eval/test') == 1
        (os.rmdir if os.path.isdir(path) else os.remove)(path)
        evaluator.evaluate(*finding.find_checkpoint(run))
        assert evaluator.is_recorded
        shutil.rmtree(os.path.join(run, 'eval'))
    assert target.read_text() == 'mine'


@pytest.mark.parametrize('option', ['remount,ro', 'full'])
def test_a_read_only_or_full_disk_is_no_reason_not_to_evaluate(copied, option, tmp_path, capsys):
    run, evaluator = copied
    whole = shutil.move(run, str(tmp_path / 'whole'))
    os.mkdir(run)
    with small_disk(run, '20m'):
        for each in os.listdir(whole):
            (shutil.copytree if os.path.isdir(os.path.join(whole, each)) else shutil.copy)(
                os.path.join(whole, each), os.path.join(run, each))
        if option == 'full':
            with contextlib.suppress(OSError), open(os.path.join(run, 'fill'), 'wb', 0) as stream:
                while stream.write(bytes(4096)):
                    pass
        else:
            subprocess.run(['mount', '-o', option, run], check=True)
        metrics = evaluator.evaluate(*finding.find_checkpoint(run))
        assert metrics['images'] == 500
        output = capsys.readouterr().out
        reason = 'No space left on device' if option == 'full' else 'Read-only file system'
        assert output.count('note: ') == 1 and f'nothing is recorded in {run}' in output
        assert f'({reason})' in output


@pytest.mark.slow
def test_a_running_training_is_followed_to_its_end(synthetic, tmp_path):
    run = str(tmp_path / 'run')
    training = subprocess.Popen(
        processes.train_command(synthetic, run, '--steps=120', '--save_steps=20',
                                '--max_to_keep=1'), stdout=subprocess.DEVNULL)
    try:
        while not (runs.exists(run) and finding.list_checkpoints(run)):
            assert training.poll() is None
            time.sleep(.05)
        with Evaluator(run, None) as evaluator:
            steps = [metrics['step'] for metrics in evaluate_new_checkpoints(evaluator)]
    finally:
        training.wait()
    assert steps == sorted(set(steps)) and steps[-1] == 120


@pytest.mark.parametrize('restart_timeout, waits', [(0., 1), (1000., 3)])
def test_a_training_may_start_again(run, monkeypatch, restart_timeout, waits):
    """It is stopped after the first look, runs at the third, and is done after that."""
    evaluator = types.SimpleNamespace(run=run, evaluate=lambda step, checkpoint: step)
    naps, states = [], ['running', 'stopped', 'running', 'done']
    monkeypatch.setattr(evaluator_module.runs, 'is_running',
                        lambda run: states[len(naps)] == 'running')
    monkeypatch.setattr(evaluator_module.runs, 'read_status',
                        lambda run: {'state': states[len(naps)]})
    monkeypatch.setattr(evaluator_module.time, 'sleep', naps.append)
    assert list(evaluate_new_checkpoints(evaluator, restart_timeout)) == [30]
    assert len(naps) == waits


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
    newest_checkpoint = finding.newest_checkpoint
    found = [finding.Checkpoint(40, os.path.join(copy, 'train', 'model.ckpt-40'))]
    monkeypatch.setattr(finding, 'newest_checkpoint',
                        lambda run: found.pop() if found else newest_checkpoint(run))
    with Evaluator(copy, None, data_dir=config.data_dir) as evaluator:
        assert list(evaluate_new_checkpoints(evaluator)) == []  # 30 is older than 40


def test_a_checkpoint_that_is_deleted_after_its_weights_were_read_is_skipped(
        run, tmp_path, monkeypatch, capsys):
    copy = str(tmp_path / 'run')
    shutil.copytree(run, copy)
    config, _ = runs.read_config(run)
    restore = saving.restore

    def restore_and_delete(*arguments):
        restore(*arguments)
        saving.delete(copy, 30)

    monkeypatch.setattr(saving, 'restore', restore_and_delete)
    with Evaluator(copy, None, data_dir=config.data_dir) as evaluator:
        assert list(evaluate_new_checkpoints(evaluator)) == []
    assert 'step 30: skipped, it was deleted before it was read' in capsys.readouterr().out


def test_a_profile_is_a_trace(run):
    with Evaluator(run, None) as evaluator:
        evaluator.evaluate(*finding.find_checkpoint(run))
        with open(evaluator.profile(30)) as stream:
            events = json.load(stream)['traceEvents']
    assert any('Conv2D' in str(event.get('name', '')) + str(event.get('args', ''))
               for event in events)


@pytest.mark.slow
def test_all_engines_evaluate_a_checkpoint_alike(run):
    """The engines that are set up agree to one image."""
    metrics = []
    pythons = [os.path.join(processes.ROOT, '.venv', engine, 'bin', 'python')
               for engine in ('tf1', 'tf1-mkl', 'tf2')]
    for python in filter(os.path.exists, pythons):
        processes.finish([python, os.path.join(processes.ROOT, 'eval.py'), '--run=' + run])
        with open(os.path.join(run, 'eval', 'test', 'metrics.jsonl')) as stream:
            metrics.append(json.loads(stream.readlines()[-1]))
    if len(metrics) < 2:
        pytest.skip('only one engine is set up: run make setup ENGINE=... for another')
    accuracies = [each['accuracy'] for each in metrics]
    losses = [each['cross_entropy'] for each in metrics]
    assert max(accuracies) - min(accuracies) <= 1 / 500
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)

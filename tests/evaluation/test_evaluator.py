"""Evaluation: exact at any batch size, of any checkpoint, beside a training, across engines."""

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
from permafrost.cluster import task
from permafrost.datasets import loading, registry
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import evaluate, evaluator, inference_graph
from permafrost.evaluation.evaluator import Evaluator, evaluate_new_checkpoints
from permafrost.experiments import results
from permafrost.inputs import augmentation
from permafrost.training import checkpoints
from tests import processes

tf.disable_v2_behavior()
tf.enable_resource_variables()


@pytest.fixture(scope='module')
def run(synthetic, tmp_path_factory):
    """A run of 30 steps with checkpoints at 0, 10, 20 and 30."""
    directory = tmp_path_factory.mktemp('evaluated') / 'run'
    processes.finish(processes.training(synthetic, directory, '--steps=30', '--save_steps=10'))
    return str(directory)


def _evaluate(run, *checkpoint, **options):
    with Evaluator(run, None, **options) as evaluator:
        return evaluator.evaluate(*checkpoints.find_checkpoint(run, *checkpoint))


@pytest.mark.parametrize('batch_size', [1, 7, 64, 499, 500, 4096])
def test_every_image_counts_once_at_any_batch_size(run, synthetic, batch_size):
    figures = _evaluate(run, batch_size=batch_size)
    labels = loading.load(synthetic, 'test')[1]
    assert figures['images'] == 500
    confusion = np.array(figures['confusion'])
    np.testing.assert_array_equal(confusion.sum(1), np.bincount(labels, minlength=10))
    assert figures['correct'] == confusion.trace() == round(figures['accuracy'] * 500)
    np.testing.assert_allclose(figures['per_class'], confusion.diagonal() / confusion.sum(1),
                               atol=1e-6)
    reference = _evaluate(run, batch_size=100)
    np.testing.assert_allclose(figures['loss'], reference['loss'], rtol=1e-5)
    assert abs(figures['correct'] - reference['correct']) <= 1  # the order of sums may differ


def test_figures_against_numpy(run, synthetic):
    """Loss and accuracy from the probabilities of single images."""
    images, labels = loading.load(synthetic, 'test')
    with Evaluator(run, None) as evaluator:
        figures = evaluator.evaluate(*checkpoints.find_checkpoint(run))
        chances = np.concatenate([
            evaluator._session.run(evaluator.inference.probabilities,
                                   {evaluator.inference.images: images[i:i + 1]})
            for i in range(len(images))])
    np.testing.assert_allclose(figures['loss'], -np.log(chances[np.arange(500), labels]).mean(),
                               rtol=1e-4)
    assert abs(figures['correct'] - (chances.argmax(1) == labels).sum()) <= 1


def test_learning_shows(run):
    assert _evaluate(run, 30, weights='raw')['loss'] < _evaluate(run, 0, weights='raw')['loss']


def test_averaged_and_raw_weights_are_the_checkpoints(run):
    reader = tf.train.load_checkpoint(checkpoints.find_checkpoint(run)[1])
    for weights, suffix in (('averaged', '/ExponentialMovingAverage'), ('raw', '')):
        with Evaluator(run, None, weights=weights) as evaluator:
            evaluator.evaluate(*checkpoints.find_checkpoint(run))
            with evaluator._graph.as_default():
                for variable in tf.trainable_variables():
                    np.testing.assert_array_equal(
                        evaluator._session.run(variable),
                        reader.get_tensor(variable.op.name + suffix))


def test_a_recipe_without_averages(synthetic, tmp_path):
    processes.finish(processes.training(synthetic, tmp_path, '--steps=2', '--set=average_decay=0'))
    assert _evaluate(str(tmp_path))['weights'] == 'raw'
    with pytest.raises(UserError, match='keeps no averages'):
        evaluator.Evaluator(str(tmp_path), None, weights='averaged')


def test_the_inference_graph_trains_nothing():
    """No queue, switch, update or random op on the way to the logits."""
    from permafrost.config import Config
    from permafrost.recipes import overrides
    with tf.Graph().as_default() as graph:
        inference_graph.build_inference_graph(
            Config('nin2', overrides.get_recipe('tutorial'), 1), registry.CIFAR10_CLASSES, (32, 32, 3))
        needed = tf.graph_util.extract_sub_graph(graph.as_graph_def(), ['probabilities'])
    types = {node.op for node in needed.node}
    assert not [t for t in types if 'Queue' in t or 'Random' in t or 'Switch' in t
                or 'Assign' in t or 'Apply' in t], types
    names = {node.name for node in needed.node}
    assert {'images', 'inputs', 'predictions', 'probabilities'} <= names


def test_inputs_are_the_preprocessed_centre(run, synthetic):
    images, _ = loading.load(synthetic, 'test')
    with Evaluator(run, None) as evaluator:
        got = evaluator._session.run(evaluator.inference.inputs,
                                     {evaluator.inference.images: images[:3]})
    centre = images[:3, 4:28, 4:28].astype(np.float64)
    for image, expected in zip(got, centre):
        deviation = max(expected.std(), 1 / np.sqrt(expected.size))
        np.testing.assert_allclose(image, (expected - expected.mean()) / deviation, atol=1e-4)
    assert augmentation.STANDARDIZE


def test_what_is_written(run):
    directory = os.path.join(run, 'eval', 'train')
    shutil.rmtree(directory, ignore_errors=True)
    for step in (0, 30, 10):
        _evaluate(run, step, split='train')
    with open(os.path.join(directory, 'metrics.jsonl')) as stream:
        lines = [json.loads(line) for line in stream]
    assert [line['step'] for line in lines] == [0, 30, 10]
    assert {line['images'] for line in lines} == {640}
    with open(os.path.join(directory, 'best.json')) as stream:
        best = json.load(stream)
    assert best['accuracy'] == max(line['accuracy'] for line in lines)
    _evaluate(run, 30, split='train', weights='raw')
    with open(os.path.join(directory, 'best_raw.json')) as stream:
        assert json.load(stream)['weights'] == 'raw'
    with open(os.path.join(directory, 'best.json')) as stream:
        assert json.load(stream) == best
    seen = [(value.tag, event.step) for path in glob.glob(os.path.join(directory, 'events*'))
            for event in tf.train.summary_iterator(path) for value in event.summary.value]
    assert ('accuracy', 10) in seen and ('loss', 30) in seen


def test_a_moved_run_is_evaluated_where_it_is(run, tmp_path):
    moved = str(tmp_path / 'elsewhere' / 'run')
    shutil.copytree(run, moved)
    config, _ = runs.read_config(run)
    figures = _evaluate(moved, data_dir=config.data_dir)
    assert figures['correct'] == _evaluate(run)['correct']


def test_wrong_directories_and_steps(run, tmp_path):
    with pytest.raises(UserError, match='not a run directory'):
        evaluator.Evaluator(str(tmp_path), None)
    with pytest.raises(UsageError, match=r'no checkpoint of step 5 .*there are: 0, 10, 20, 30'):
        checkpoints.find_checkpoint(run, 5)
    with pytest.raises(UserError, match='no run under'):
        runs.latest_run(str(tmp_path))


def test_a_checkpoint_of_other_shapes(run, synthetic, tmp_path):
    other = str(tmp_path / 'other')
    processes.finish(processes.command(
        'train.py', '--model=squeeze0', '--data_set=synthetic', '--set=batch_size=16',
        '--data_dir=' + synthetic.directory, '--run=' + other, '--steps=1'))
    for path in glob.glob(os.path.join(run, 'train', 'model.ckpt-30.*')):
        name = os.path.basename(path).replace('-30', '-1')
        shutil.copy(path, os.path.join(other, 'train', name))
    output = processes.finish(processes.command('eval.py', '--run=' + other), 1)
    assert 'error: ' in output and 'model.ckpt-1 does not fit this model' in output
    output = processes.finish(processes.command(
        'train.py', '--run=' + other, '--resume', '--steps=9'), 1)
    assert 'does not fit this model' in output and 'fire' in output


def test_following_a_training_sees_its_end(synthetic, tmp_path):
    run = tmp_path / 'run'
    train = subprocess.Popen(processes.training(
        synthetic, run, '--steps=120', '--save_steps=20', '--max_to_keep=1'),
        stdout=subprocess.DEVNULL)
    try:
        while not checkpoints.list_checkpoints(str(run)):
            assert train.poll() is None
        output = processes.finish(processes.command('eval.py', '--run=%s' % run, '--follow'))
    finally:
        train.wait()
    assert 'step 120: ' in output
    steps = [int(line.split()[1][:-1]) for line in output.splitlines()
             if line.startswith('step') and 'correct' in line]
    assert steps == sorted(set(steps)) and steps[-1] == 120


@pytest.mark.parametrize('patience', [0., 1000.])
def test_following_goes_on_while_there_is_nothing_new(run, monkeypatch, patience):
    evaluator = types.SimpleNamespace(run=run, evaluate=lambda step, checkpoint: step)
    naps = []
    held = contextlib.ExitStack()
    held.enter_context(runs.lock(run))

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            held.close()  # the training ends
            runs.write_status(run, state='done')

    monkeypatch.setattr('permafrost.evaluation.evaluator.time.sleep', nap)
    assert list(evaluate_new_checkpoints(evaluator, patience)) == [max(checkpoints.list_checkpoints(run))]
    assert len(naps) == 3


def test_sigterm_ends_following_with_143(run, tmp_path):
    with runs.lock(run):  # as a training would, so that following goes on
        code, output = processes.interrupt(
            processes.command('eval.py', '--run=' + run, '--follow'), '^step 30: ')
    assert code == 143 and 'Traceback' not in output


def test_a_checkpoint_deleted_meanwhile_is_skipped(run, tmp_path, monkeypatch):
    copy = str(tmp_path / 'run')
    shutil.copytree(run, copy)
    config, _ = runs.read_config(run)
    real = checkpoints.list_checkpoints
    gone = os.path.join(copy, 'train', 'model.ckpt-40')
    listings = [dict(list(real(copy).items()) + [(40, gone)])]
    monkeypatch.setattr(checkpoints, 'list_checkpoints',
                        lambda run: listings.pop() if listings else real(run))
    with Evaluator(copy, None, data_dir=config.data_dir) as evaluator:
        assert list(evaluate_new_checkpoints(evaluator)) == []  # 40 was gone; 30 is older than it


def test_the_evaluator_of_a_cluster_waits_for_a_run_to_be_trained_on(run):
    reached = max(checkpoints.list_checkpoints(run))
    assert task._waits(run, reached + 1)
    assert not task._waits(run, reached) and not task._waits(run, None)


def test_profile_is_a_trace(run):
    with Evaluator(run, None) as evaluator:
        evaluator.evaluate(*checkpoints.find_checkpoint(run))
        with open(evaluator.profile(30)) as stream:
            events = json.load(stream)['traceEvents']
    assert any('Conv2D' in str(event.get('name', '')) + str(event.get('args', ''))
               for event in events)


def _changed(run, copy, change):
    """A copy of `run`, whose config.json `change` changed."""
    shutil.copytree(run, str(copy))
    value = json.loads((copy / 'config.json').read_text())
    change(value)
    (copy / 'config.json').write_text(json.dumps(value))
    return str(copy)


def test_results_join_seeds(run, tmp_path):
    figures = _evaluate(run)
    path = results.record(str(tmp_path), run, figures)
    config, extra = runs.read_config(run)
    other = _changed(run, tmp_path / 'run', lambda value: value['config'].update(seed=7))
    assert results.record(str(tmp_path), other, dict(figures, accuracy=0.25)) == path
    with open(path) as stream:
        result = json.load(stream)
    values = [figures['accuracy'], 0.25]
    assert result['seeds'] == [config.seed, 7] and result['accuracy']['values'] == values
    np.testing.assert_allclose(result['accuracy']['mean'], np.mean(values))
    np.testing.assert_allclose(result['accuracy']['std'], np.std(values, ddof=1))
    with pytest.raises(UserError, match='finished run'):
        results.record(str(tmp_path), run, dict(figures, step=10))


def test_results_are_not_mixed(run, tmp_path):
    figures = _evaluate(run)
    path = results.record(str(tmp_path), run, figures)
    with open(path) as stream:
        before = stream.read()
    other = _changed(run, tmp_path / 'run', lambda value: value['config']['recipe'].update(
        momentum=0.75, augmentation=['flip']))
    elsewhere = _changed(run, tmp_path / 'elsewhere', lambda value: value.update(
        data_set_identity='0' * 64))
    with pytest.raises(UserError, match='bring it back, or leave out --results'):
        evaluate.evaluate_run(elsewhere, None, results_dir=str(tmp_path),
                            data_dir=runs.read_config(run)[0].data_dir)
    for at, changes, message in (
            (other, {}, 'momentum is 0.9 there, 0.75 here'), (other, {}, 'augmentation is'),
            (run, {'weights': 'raw'}, 'weights is averaged there'),
            (elsewhere, {}, 'data_set_identity is'),
            (run, {'split': 'train'}, 'of the test images')):
        with pytest.raises(UserError, match=message):
            results.record(str(tmp_path), at, dict(figures, **changes))
    with open(path) as stream:
        assert stream.read() == before


@pytest.mark.slow
def test_checkpoints_move_between_engines(run):
    """Those set up beside this one evaluate its checkpoint alike, to 0.05 points."""
    pythons = [p for p in glob.glob(os.path.join(processes.ROOT, '.venv', 'tf*', 'bin', 'python'))]
    figures = []
    for python in pythons:
        done = subprocess.run([python, os.path.join(processes.ROOT, 'eval.py'), '--run=' + run],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True)
        assert done.returncode == 0, done.stdout
        with open(os.path.join(run, 'eval', 'test', 'metrics.jsonl')) as stream:
            figures.append(json.loads(stream.readlines()[-1]))
    if len(figures) < 2:
        pytest.skip('one engine is set up: make setup ENGINE=... for another')
    accuracies = [f['accuracy'] for f in figures]
    losses = [f['loss'] for f in figures]
    assert max(accuracies) - min(accuracies) <= 1 / 500  # one image of these
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)

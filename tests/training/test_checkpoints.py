"""Checkpoints: when they are saved, how many are kept, which is found, what a bad one gives."""

import os
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.errors import UsageError, UserError
from permafrost.training import checkpoints
from tests import networks


def _steps(run):
    return sorted(checkpoints.list_checkpoints(str(run)))


@pytest.fixture(scope='module')
def trained(synthetic, tmp_path_factory):
    """A run with checkpoints of steps 0, 2 and 4. Tests must not change it."""
    run = str(tmp_path_factory.mktemp('trained') / 'run')
    networks.train(synthetic, run, 4, 'tiny', save_steps=2)
    return run


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of that run."""
    return shutil.copytree(trained, str(tmp_path / 'run'))


@pytest.mark.parametrize('interval, before, step, expected', [
    (5, 4, 5, True), (5, 5, 6, False), (5, 3, 11, True), (5, 0, 4, False), (1, 0, 1, True),
    (0, 3, 11, False)])
def test_a_multiple_is_crossed(interval, before, step, expected):
    assert checkpoints.crossed_multiple_of(interval, before, step) == expected


def test_saved_by_steps_and_the_most_recent_are_kept(synthetic, tmp_path):
    policy = dict(save_steps=2, max_to_keep=3)
    networks.train(synthetic, tmp_path, 9, 'tiny', **policy)
    assert _steps(tmp_path) == [6, 8, 9]
    networks.train(synthetic, tmp_path, 11, 'tiny', resume=True, **policy)
    assert _steps(tmp_path) == [9, 10, 11]  # those of the first process count


def test_saved_by_seconds(synthetic, tmp_path, monkeypatch):
    seconds = iter(range(10**6))
    monkeypatch.setattr(checkpoints.time, 'time', lambda: float(next(seconds)))
    networks.train(synthetic, tmp_path, 60, 'tiny', save_steps=0, save_secs=30, max_to_keep=0)
    monkeypatch.undo()
    assert len(_steps(tmp_path)) > 2  # not only the first and the last


def test_zero_seconds_saves_only_by_steps(synthetic, tmp_path):
    networks.train(synthetic, tmp_path, 3, 'tiny', save_steps=0, save_secs=0)
    assert _steps(tmp_path) == [0, 3]


def test_copies_that_somebody_made_are_no_checkpoints(copied):
    for ending in ('index', 'data-00000-of-00001'):
        shutil.copy(os.path.join(copied, 'train', f'model.ckpt-4.{ending}'),
                    os.path.join(copied, 'train', f'model.ckpt-4-best.{ending}'))
    assert _steps(copied) == [0, 2, 4]


def test_the_last_checkpoint_or_that_of_a_step_is_found(trained):
    prefix = os.path.join(trained, 'train', 'model.ckpt-')
    assert checkpoints.find_checkpoint(trained) == (4, prefix + '4')
    assert checkpoints.find_checkpoint(trained, 0) == (0, prefix + '0')
    assert checkpoints.last_step(trained) == 4
    with pytest.raises(UsageError, match=r'no checkpoint at step 3 .*choose from: 0, 2, 4'):
        checkpoints.find_checkpoint(trained, 3)


def test_a_run_without_checkpoints_says_so(tmp_path):
    assert checkpoints.last_step(str(tmp_path)) == 0
    with pytest.raises(UserError, match='no checkpoint in .* yet: train first'):
        checkpoints.find_checkpoint(str(tmp_path))


def test_a_checkpoint_that_does_not_fit_is_named_with_its_variable(trained, default_graph):
    path = checkpoints.find_checkpoint(trained)[1]
    shape = tf.train.load_checkpoint(path).get_variable_to_shape_map()['logits/biases']
    good, wide = tf.get_variable('good', shape), tf.get_variable('wide', [11])
    checkpoints.verify_compatible(path, {'logits/biases': good})
    with pytest.raises(UserError, match=r'logits/biases has shape \[10\], expected shape \[11\]'):
        checkpoints.verify_compatible(path, {'logits/biases': wide})
    with pytest.raises(UserError, match=r'nothing is missing, expected shape \[11\]'):
        checkpoints.verify_compatible(path, {'nothing': wide})
    with pytest.raises(UserError, match='cannot read .*model.ckpt-9'):
        checkpoints.verify_compatible(path[:-1] + '9', {'logits/biases': good})


def test_restore_fills_the_variables(trained, default_graph):
    path = checkpoints.find_checkpoint(trained)[1]
    variable = tf.get_variable('biases', [10])
    variables = {'logits/biases': variable}
    with tf.Session() as session:
        checkpoints.restore(tf.train.Saver(variables), session, path, variables)
        np.testing.assert_array_equal(
            session.run(variable), tf.train.load_checkpoint(path).get_tensor('logits/biases'))


def test_a_damaged_checkpoint_is_named_and_the_one_before_can_be_used(synthetic, copied, capsys):
    data = os.path.join(copied, 'train', 'model.ckpt-4.data-00000-of-00001')
    size = os.path.getsize(data)
    with open(data, 'r+b') as stream:
        stream.seek(size // 2)
        stream.write(b'x' * (size - size // 2))
    with pytest.raises(UserError, match='model.ckpt-4 is damaged .* --resume'):
        networks.train(synthetic, copied, 6, 'tiny', resume=True)
    for ending in ('index', 'data-00000-of-00001'):
        os.remove(os.path.join(copied, 'train', f'model.ckpt-4.{ending}'))
    networks.train(synthetic, copied, 6, 'tiny', resume=True)
    assert 'resuming at step 2' in capsys.readouterr().out


def test_divergence_stops_and_keeps_finite_weights(synthetic, tmp_path):
    with pytest.raises(UserError) as error:
        networks.train(synthetic, tmp_path, 50, 'tiny', changes=['learning_rate=1e20'],
                       save_steps=1)
    last, checkpoint = checkpoints.find_checkpoint(str(tmp_path))
    assert str(error.value).startswith('loss or weights became NaN or infinite at step ')
    assert '(learning rate 1e+20). Last good checkpoint: ' in str(error.value)
    assert (f'{checkpoint} (step {last}). Train again with a lower learning rate, '
            'e.g. --set ') in str(error.value)
    reader = tf.train.load_checkpoint(checkpoint)
    for name in reader.get_variable_to_shape_map():
        assert np.isfinite(reader.get_tensor(name)).all(), name
    assert runs.read_status(str(tmp_path))['state'] == 'failed'


def test_an_emergency_save_marks_the_run_as_stopped(synthetic, tmp_path, default_graph):
    run = runs.create('', '', str(tmp_path / 'run'))
    tf.get_variable('weight', [])
    advance = tf.train.get_or_create_global_step().assign_add(1)
    hook = checkpoints.CheckpointHook(run, networks.train_setup(synthetic, run, 9).config,
                                      advance.read_value())
    with tf.train.SingularMonitoredSession(hooks=[hook]) as session:
        session.run(advance)
        hook.emergency_save(session.raw_session())
        assert _steps(run) == [0, 1]
        status = runs.read_status(run)
        assert status['state'] == 'stopped' and status['step'] == 1


def test_a_worker_without_a_run_directory_points_to_the_chief(synthetic):
    config = networks.train_setup(synthetic, None, 5).config
    error = checkpoints.nan_error(config, None, 3)
    assert 'at step 3 (learning rate 0.05). The chief keeps the last good checkpoint' in str(error)


@pytest.mark.parametrize('error', [
    OSError(28, 'No space left on device'),
    tf.errors.ResourceExhaustedError(None, None, 'x/model.ckpt_temp; No space left on device')])
def test_a_full_disk_removes_what_is_unfinished(trained, tmp_path, error):
    run = shutil.copytree(trained, str(tmp_path / 'run'))
    os.mkdir(os.path.join(run, 'train', 'model.ckpt-6_temp'))
    open(os.path.join(run, 'train', 'model.ckpt-6.data.tempstate1'), 'w').close()
    with pytest.raises(UserError, match=r'cannot write to .* \(No space left\): free disk space or '
                       'make it writable, then --resume; last complete checkpoint: step 4'):
        with checkpoints.explain_disk_errors(run):
            raise error
    assert not [name for name in os.listdir(os.path.join(run, 'train')) if 'temp' in name]
    assert _steps(run) == [0, 2, 4]


def test_other_errors_are_not_explained_away(trained):
    with pytest.raises(OSError, match='Is a directory'):
        with checkpoints.explain_disk_errors(trained):
            raise OSError(21, 'Is a directory')


def test_a_real_full_disk_loses_nothing(synthetic, tmp_path):
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip('only root can mount a small tmpfs')
    try:
        run = str(tmp_path / 'run')
        with pytest.raises(UserError, match=f'cannot write to {run} .*free disk space') as error:
            networks.train(synthetic, run, 1000, 'tiny', save_steps=1, max_to_keep=0)
        step, checkpoint = checkpoints.find_checkpoint(run)
        tf.train.load_checkpoint(checkpoint).get_tensor('conv1/weights')
        assert f'step {step}' in str(error.value)
        assert not [name for name in os.listdir(os.path.join(run, 'train')) if 'temp' in name]
    finally:
        subprocess.run(['umount', '-l', str(tmp_path)], check=True)

"""CheckpointHook: when checkpoints are saved, and how many are kept."""

import os
import threading
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import files, runs
from permafrost.errors import UsageError, UserError
from permafrost.training.checkpoints import checkpoint_hook, finding
from tests import networks
from tests.training.checkpoints.helpers import DAMAGE, steps


def test_saved_by_steps_and_the_most_recent_are_kept(synthetic, tmp_path):
    policy = dict(save_steps=2, max_to_keep=3)
    networks.train(synthetic, tmp_path, 9, 'tiny', **policy)
    assert steps(tmp_path) == [6, 8, 9]
    networks.train(synthetic, tmp_path, 11, 'tiny', resume=True, **policy)
    assert steps(tmp_path) == [9, 10, 11]  # those of the first process count


def test_saved_by_seconds_of_a_clock_that_nobody_sets(synthetic, tmp_path, monkeypatch):
    seconds = iter(range(10**6))
    monkeypatch.setattr(checkpoint_hook, 'time', types.SimpleNamespace(  # and no time.time
        monotonic=lambda: float(next(seconds))))
    networks.train(synthetic, tmp_path, 60, 'tiny', save_steps=0, save_secs=30, max_to_keep=0)
    assert len(steps(tmp_path)) > 2  # not only the first and the last
    assert runs.read_status(str(tmp_path))['train_seconds'] > 30


def test_zero_seconds_saves_only_by_steps(synthetic, tmp_path):
    networks.train(synthetic, tmp_path, 3, 'tiny', save_steps=0, save_secs=0)
    assert steps(tmp_path) == [0, 3]


def test_no_index_counts_because_of_its_name(synthetic, copied, capsys):
    names = [f'model.ckpt-{step}.index' for step in ('70', '9' * 60, '007', '+8', '٣')]
    for name in names:
        with open(os.path.join(copied, 'train', name), 'w') as stream:
            stream.write('garbage' * 99)
    assert finding.last_step(copied) == 4
    assert steps(copied) == [0, 2, 4, 70, int('9' * 60)]
    networks.train(synthetic, copied, 6, 'tiny', resume=True, save_steps=2, max_to_keep=2)
    assert 'done at step 6' in capsys.readouterr().out
    assert set(names) < set(os.listdir(os.path.join(copied, 'train')))  # kept
    assert steps(copied) == [4, 6, 70, int('9' * 60)]


def test_training_goes_on_before_the_damage_and_saves_over_it(synthetic, copied, capsys):
    DAMAGE['data bit'][0](os.path.join(copied, 'train', 'model.ckpt-4'))
    DAMAGE['data empty'][0](os.path.join(copied, 'train', 'model.ckpt-2'))
    networks.train(synthetic, copied, 4, 'tiny', resume=True, save_steps=4)
    output, notes = capsys.readouterr()
    assert notes.count('is skipped: ') == 2 and 'resuming at step 0' in output
    assert finding.find_problem(finding.find_checkpoint(copied, 4)[1]) is None
    with pytest.raises(UserError, match='model.ckpt-2 is damaged'):
        finding.find_checkpoint(copied, 2)


def test_a_run_with_nothing_readable_is_not_started_anew(synthetic, copied):
    for step in (0, 2, 4):
        os.remove(os.path.join(copied, 'train', f'model.ckpt-{step}.data-00000-of-00001'))
    with pytest.raises(UserError, match='none of the checkpoints in .* can be read: copy them'):
        networks.train(synthetic, copied, 6, 'tiny', resume=True)


@pytest.mark.parametrize('histogram_steps', [0, 1])
def test_divergence_stops_and_keeps_finite_weights(histogram_steps, synthetic, tmp_path):
    with pytest.raises(UserError) as error:
        networks.train(synthetic, tmp_path, 50, 'tiny', changes=['learning_rate=1e9'],
                       save_steps=1, histogram_steps=histogram_steps)
    last, checkpoint = finding.find_checkpoint(str(tmp_path))
    assert str(error.value).startswith('loss or weights became NaN or infinite at step ')
    assert '(learning rate 1e+09). Last good checkpoint: ' in str(error.value)
    assert (f'{checkpoint} (step {last}). Train again with a lower learning rate, '
            'e.g. --learning_rate=') in str(error.value)
    reader = tf.train.load_checkpoint(checkpoint)
    for name in reader.get_variable_to_shape_map():
        assert np.isfinite(reader.get_tensor(name)).all(), name
    assert runs.read_status(str(tmp_path))['state'] == 'failed'


@pytest.fixture
def at_step_one(synthetic, tmp_path, default_graph):
    """(run, CheckpointHook, session): a training of one variable, at step 1, which is not saved."""
    run = runs.create('', '', str(tmp_path / 'run'))
    tf.get_variable('weight', [])
    advance = tf.train.get_or_create_global_step().assign_add(1)
    save = checkpoint_hook.CheckpointHook(run, networks.train_setup(synthetic, run, 9).config,
                               advance.read_value())
    with tf.train.SingularMonitoredSession(hooks=[save]) as session:
        session.run(advance)
        yield run, save, session.raw_session()


def test_an_emergency_save_marks_the_run_as_stopped(at_step_one):
    run, save, session = at_step_one
    save.emergency_save(session)
    assert steps(run) == [0, 1]
    status = runs.read_status(run)
    assert status['state'] == 'stopped' and status['step'] == 1


def test_an_emergency_save_waits_for_a_save_that_hangs(at_step_one, monkeypatch):
    """Two saves of a step at once would delete each other's files."""
    run, save, session = at_step_one
    hangs, goes_on, errors, sync = threading.Event(), threading.Event(), [], files.sync

    def slow_sync(path):
        hangs.set()
        goes_on.wait(60)
        sync(path)

    def in_thread(function, *arguments):
        def call():
            try:
                function(*arguments)
            except Exception as error:
                errors.append(error)
        thread = threading.Thread(target=call)
        thread.start()
        return thread

    monkeypatch.setattr(files, 'sync', slow_sync)
    first = in_thread(save.save_now, session, 1)
    assert hangs.wait(60)
    second = in_thread(save.emergency_save, session)
    second.join(.5)
    goes_on.set()
    first.join()
    second.join()
    assert not errors and steps(run) == [0, 1]
    assert finding.newest_checkpoint(run).step == 1
    assert runs.read_status(run)['state'] == 'stopped'


def test_weights_that_are_not_finite_from_the_start_are_said_to_be(tmp_path, synthetic):
    config = networks.train_setup(synthetic, None, 5).config
    run = runs.create('', '', str(tmp_path / 'run'))
    assert str(checkpoint_hook.nan_error(config, run, 0)) == (
        'loss or weights are NaN or infinite at step 0: check --init_from, --teacher, the dataset '
        'and the learning rate')


def test_a_worker_without_a_run_directory_points_to_the_chief(synthetic):
    config = networks.train_setup(synthetic, None, 5).config
    error = checkpoint_hook.nan_error(config, None, 3)
    assert 'at step 3 (learning rate 0.05). The chief keeps the last good checkpoint' in str(error)


def test_the_best_checkpoint_is_kept_next_to_the_newest(synthetic, tmp_path, default_graph):
    run = runs.create('', '', str(tmp_path / 'run'))
    tf.get_variable('weight', [])
    advance = tf.train.get_or_create_global_step().assign_add(1)
    config = networks.train_setup(synthetic, run, 9, save_steps=1, max_to_keep=2).config
    save = checkpoint_hook.CheckpointHook(run, config, advance.read_value())
    prepared = []
    save.before_save.append(prepared.append)
    with tf.train.SingularMonitoredSession(hooks=[save]) as session:
        for step in range(1, 8):
            session.run(advance)
            assert save.last_step == step
            if step in (2, 5):
                save.best_step = step
    assert steps(run) == [5, 6, 7] and prepared == list(range(8))
    runs.write_status(run, best_step=5)
    assert finding.find_checkpoint(run, 'best').step == 5
    runs.write_status(run, best_step=None)
    runs.write_config(run, config, {'classes': synthetic.classes})
    with networks.registered(), pytest.raises(
            UsageError, match='has no best checkpoint: only training with --validation N'):
        finding.find_checkpoint(run, 'best')


def test_files_kept_with_a_checkpoint_have_its_step(synthetic, tmp_path, default_graph):
    """In an asynchronous cluster other workers make steps between the chief's and its save."""
    run = runs.create('', '', str(tmp_path / 'run'))
    weight = tf.get_variable('weight', [])
    step = tf.train.get_or_create_global_step()
    config = networks.train_setup(synthetic, run, 9).config
    save, prepared = checkpoint_hook.CheckpointHook(run, config, tf.identity(step)), []
    save.before_save.append(prepared.append)
    with tf.Session() as session:
        weight.load(1., session)
        for chief, others in (5, 5), (7, 9):
            step.load(others, session)
            save.save_now(session, chief)
            assert save.last_step == others == runs.read_status(run)['step']
    assert steps(run) == [5, 9] and prepared == [5, 7, 9]


def test_excluded_seconds_are_no_training(synthetic, tmp_path, default_graph, monkeypatch):
    run = runs.create('', '', str(tmp_path / 'run'))
    runs.write_status(run, train_seconds=100.)
    now = [50.]
    monkeypatch.setattr(checkpoint_hook, 'time', types.SimpleNamespace(monotonic=lambda: now[0]))
    tf.get_variable('weight', [])
    step = tf.train.get_or_create_global_step()
    save = checkpoint_hook.CheckpointHook(run, networks.train_setup(synthetic, run, 9).config, step)
    now[0] += 10
    save.exclude(4.)
    assert save.train_seconds == 106.

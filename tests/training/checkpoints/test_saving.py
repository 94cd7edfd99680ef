"""Saving and restoring: names that are patterns, power cuts, full disks."""

import errno
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.errors import UserError
from permafrost.training.checkpoints import finding, saving
from tests import networks
from tests.environment import small_disk
from tests.evaluation.helpers import evaluate
from tests.training import power_cut
from tests.training.checkpoints.helpers import steps


def test_restore_fills_the_variables(trained, default_graph):
    path = finding.find_checkpoint(trained)[1]
    variable = tf.get_variable('biases', [10])
    variables = {'logits/biases': variable}
    with tf.Session() as session:
        saving.restore(tf.train.Saver(variables), session, path, variables)
        np.testing.assert_array_equal(
            session.run(variable), tf.train.load_checkpoint(path).get_tensor('logits/biases'))


NAMES = ['lr?', 'lr*', 'lr[12]', 'lr=[0.1]', r'l\r1', '{lr1}', ' lr 1', 'lr\n1', 'é日本', '-lr',
         os.fsdecode(b'lr\xff')]


@pytest.mark.parametrize('name', NAMES)
def test_a_name_is_no_pattern(tmp_path, default_graph, name):
    step = tf.train.get_or_create_global_step()
    weight, value = tf.get_variable('weight', []), tf.placeholder(tf.float32, [])
    assign, saver = weight.assign(value), tf.train.Saver()
    runs_ = [runs.create('', '', str(tmp_path / each)) for each in ('lr1', 'lr2', name)]
    with tf.Session() as session:
        for number, run in enumerate(runs_):
            for each in (1, 2, 3):
                session.run([step.assign(each), assign], {value: 10 * number + each})
                saving.save(saver, session, run, each)
        before = [sorted(os.listdir(os.path.join(run, 'train'))) for run in runs_[:2]]
        saving.delete(runs_[2], 3)
        assert steps(runs_[2]) == [1, 2]
        assert saving.restore_newest(saver, session, runs_[2]) == 2
        assert session.run([step, weight]) == [2, 22]
    assert [sorted(os.listdir(os.path.join(run, 'train'))) for run in runs_[:2]] == before


def test_a_checkpoint_has_the_name_of_the_step_that_is_in_it(tmp_path, default_graph):
    """Other workers of an asynchronous cluster make steps while the chief saves."""
    step, run = tf.train.get_or_create_global_step(), runs.create('', '', str(tmp_path / 'run'))
    saver = tf.train.Saver()
    with tf.Session() as session:
        for chief, others in ((5, 5), (7, 9)):
            step.load(others, session)
            assert saving.save(saver, session, run, chief) == others
        assert steps(run) == [5, 9] and finding.newest_checkpoint(run).step == 9


def test_a_run_of_such_a_name_is_trained_resumed_and_evaluated(synthetic, trained, tmp_path):
    other = shutil.copytree(trained, str(tmp_path / 'lr1'))
    before = sorted(os.listdir(os.path.join(other, 'train')))
    run = str(tmp_path / 'lr[1]')
    for last in (4, 6):
        networks.train(synthetic, run, last, 'tiny', resume=last > 4, save_steps=1,
                       max_to_keep=2, summary_steps=1)
    assert steps(run) == [5, 6]
    with networks.registered():
        assert evaluate(run, weights='raw')['step'] == 6
    assert sorted(os.listdir(os.path.join(other, 'train'))) == before
    assert any('tfevents' in name for name in os.listdir(os.path.join(run, 'train')))


@pytest.fixture
def saved(tmp_path, default_graph):
    """A function that saves a checkpoint at a step in a new run, and the run."""
    step, run = tf.train.get_or_create_global_step(), runs.create('', '', str(tmp_path / 'run'))
    saver = tf.train.Saver()
    with tf.Session() as session:
        def save(number):
            session.run(step.assign(number))
            saving.save(saver, session, run, number)
        yield save, run


def test_a_name_comes_after_its_content_is_on_the_disk(saved, monkeypatch):
    save, run = saved
    events = []

    def record(function, *names):
        def call(*arguments, **options):
            paths = [os.readlink(f'/proc/self/fd/{each}') if isinstance(each, int) else each
                     for each in arguments]
            function(*arguments, **options)
            events.append((function.__name__, *map(os.path.basename, paths)))
        monkeypatch.setattr(os, function.__name__, call)

    record(os.fsync)
    record(os.replace)
    save(3)
    data, index = '.data-00000-of-00001', '.index'
    assert events == [
        ('fsync', 'model.ckpt-3.temp' + data), ('fsync', 'model.ckpt-3.temp' + index),
        ('fsync', 'train'),
        ('replace', 'model.ckpt-3.temp' + data, 'model.ckpt-3' + data),
        ('replace', 'model.ckpt-3.temp' + index, 'model.ckpt-3' + index), ('fsync', 'train')]


def test_a_power_cut_loses_no_finished_save(synthetic, tmp_path, monkeypatch):
    run = str(tmp_path / 'run')
    saved = {}  # number of states when a save was finished: its step

    def save(*arguments):
        saved[len(recorder.states)] = step = save_(*arguments)
        return step

    with monkeypatch.context() as patch:
        recorder, save_ = power_cut.Recorder(os.path.join(run, 'train'), patch), saving.save
        patch.setattr(saving, 'save', save)
        networks.train(synthetic, run, 6, 'tiny', save_steps=1, max_to_keep=2)
    assert list(saved.values()) == list(range(7))
    random = np.random.RandomState(1)
    for number in range(60):
        cut = random.randint(min(saved), len(recorder.states))
        after = shutil.copytree(run, str(tmp_path / str(number)),
                                ignore=shutil.ignore_patterns('model.ckpt-*', 'checkpoint'))
        power_cut.write_state(recorder.states[cut], os.path.join(after, 'train'), random)
        finished = max(step for states, step in saved.items() if states <= cut + 1)
        assert finding.last_step(after) in (finished, finished + 1), cut
    networks.train(synthetic, after, 8, 'tiny', resume=True, save_steps=1)
    assert finding.last_step(after) == 8


def test_leftovers_of_killed_saves_are_cleared_and_nothing_else(synthetic, copied):
    folder = os.path.join(copied, 'train')
    data = '.data-00000-of-00001'
    leftovers = [f'model.ckpt-6{data}.tempstate123', 'model.ckpt-6.index.tempstate45',
                 f'model.ckpt-6.temp{data}', 'model.ckpt-6.temp.index',
                 f'model.ckpt-6.temp{data}.tempstate6789']
    others = ['model.ckpt-best.temp.index', f'model.ckpt-6{data}', 'model.ckpt-6.temp.index.txt',
              'model.ckpt-6.tempstate', 'my.tempstate1', f'old-model.ckpt-6.temp{data}', '6.temp']
    for name in leftovers + others:
        with open(os.path.join(folder, name), 'w') as stream:
            stream.write('x')
    before = set(os.listdir(folder))
    networks.train(synthetic, copied, 5, 'tiny', resume=True)
    assert before - set(os.listdir(folder)) == set(leftovers)


def _write_nothing(run):
    raise OSError(28, 'No space left on device', os.path.join(run, 'status.json'))


def _tensorflow_error(run):
    raise tf.errors.ResourceExhaustedError(None, None, f'{run}/x; No space left on device\n\t [[x')


@pytest.mark.parametrize('fail', [_write_nothing, _tensorflow_error])
def test_a_full_disk_removes_what_is_unfinished(copied, fail):
    leftover = os.path.join(copied, 'train', 'model.ckpt-6.temp.index')
    open(leftover, 'w').close()
    runs.write_status(copied, state='running')
    with pytest.raises(UserError) as error:
        with saving.explain_disk_errors(copied):
            fail(copied)
    assert re.fullmatch(rf'cannot write {copied}/(status.json|x) \(No space left on device\): free '
                        'disk space, then continue with --resume; last checkpoint: step 4',
                        str(error.value))
    assert not os.path.exists(leftover)
    assert steps(copied) == [0, 2, 4]
    assert runs.read_status(copied)['state'] == 'stopped'


@pytest.mark.parametrize('code, advice', [
    ('EDQUOT', 'raise the quota'), ('EROFS', 'make it writable'), ('EACCES', 'make it writable'),
    ('EIO', 'check the disk'), ('EFBIG', 'ulimit -f')])
def test_each_error_of_a_disk_has_its_advice(copied, code, advice):
    number = getattr(errno, code)
    with pytest.raises(UserError, match=advice):
        with saving.explain_disk_errors(copied):
            raise OSError(number, os.strerror(number))


def test_a_dataset_that_cannot_be_read_is_to_be_made_readable(copied):
    with pytest.raises(UserError, match='^cannot read /data/a.bin .Permission denied.: make it '
                                        'readable, then'):
        with saving.explain_disk_errors(copied):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), '/data/a.bin')
    with pytest.raises(UserError, match='^cannot read .*run0/a.bin'):  # next to the run
        with saving.explain_disk_errors(copied):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), f'{copied}0/a.bin')


def test_a_dataset_that_is_removed_is_named(trained):
    with pytest.raises(UserError, match='^/data/a.bin was removed while training: put it back'):
        with saving.explain_disk_errors(trained):
            raise tf.errors.NotFoundError(None, None, '/data/a.bin; No such file or directory')


def test_too_little_memory_is_one_line(trained):
    with pytest.raises(UserError, match='^out of memory: stop other processes'):
        with saving.explain_disk_errors(trained):
            raise tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating tensor')


def test_other_errors_are_not_explained_away(trained):
    with pytest.raises(OSError, match='Invalid argument'):
        with saving.explain_disk_errors(trained):
            raise OSError(22, 'Invalid argument')
    with pytest.raises(OSError, match='No such file'):
        with saving.explain_disk_errors(trained):
            raise OSError(2, 'No such file or directory')


def test_a_run_that_is_removed_is_named(saved):
    save, run = saved
    save(1)
    shutil.rmtree(run)
    with pytest.raises(UserError, match=f'{run}/train was removed while training: start another'):
        save(2)


def test_a_folder_with_the_name_of_a_checkpoint_is_named(saved):
    save, run = saved
    os.mkdir(os.path.join(run, 'train', 'model.ckpt-2.index'))
    with pytest.raises(UserError, match=r'train/model.ckpt-2.index \(Is a directory\): move it aw'):
        save(2)


def test_a_real_full_disk_loses_nothing(synthetic, tmp_path):
    with small_disk(tmp_path, '400k'):
        run = str(tmp_path / 'run')
        with pytest.raises(UserError, match=f'cannot write {run}[ /].*free disk space') as error:
            networks.train(synthetic, run, 1000, 'tiny', save_steps=1, max_to_keep=0)
        step, checkpoint = finding.find_checkpoint(run)
        tf.train.load_checkpoint(checkpoint).get_tensor('conv1/weights')
        assert f'step {step}' in str(error.value)
        assert not [name for name in os.listdir(os.path.join(run, 'train')) if 'temp' in name]

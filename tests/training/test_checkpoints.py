"""Checkpoints: when they are saved, how many are kept, which is found, what a bad one gives."""

import errno
import os
import re
import shutil
import subprocess
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.errors import UsageError, UserError
from permafrost.training import checkpoints
from tests import networks
from tests.evaluation.helpers import evaluate
from tests.training import power_cut


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


def test_saved_by_seconds_of_a_clock_that_nobody_sets(synthetic, tmp_path, monkeypatch):
    seconds = iter(range(10**6))
    monkeypatch.setattr(checkpoints, 'time', types.SimpleNamespace(  # and no time.time
        monotonic=lambda: float(next(seconds))))
    networks.train(synthetic, tmp_path, 60, 'tiny', save_steps=0, save_secs=30, max_to_keep=0)
    assert len(_steps(tmp_path)) > 2  # not only the first and the last
    assert runs.read_status(str(tmp_path))['train_seconds'] > 30


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
    with open(os.path.join(trained, 'train', 'checkpoint')) as stream:  # for TensorFlow's tools
        assert stream.read() == ('model_checkpoint_path: "model.ckpt-4"\n' + ''.join(
            f'all_model_checkpoint_paths: "model.ckpt-{step}"\n' for step in (0, 2, 4)))
    assert tf.train.latest_checkpoint(os.path.dirname(prefix)) == prefix + '4'


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


def _rewrite(change, ending='data-00000-of-00001'):
    """Return a function that applies `change` to the bytes of a file of a checkpoint."""
    def damage(path):
        with open(f'{path}.{ending}', 'rb') as stream:
            content = stream.read()
        with open(f'{path}.{ending}', 'wb') as stream:
            stream.write(change(content))
    return damage


def _flip(content):
    return content[:len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[
        len(content) // 2 + 1:]


def _replace_index(make):
    """Return a function that calls `make` with the path of an index that it has removed."""
    def damage(path):
        os.remove(path + '.index')
        make(path + '.index')
    return damage


def _rename_older(path):
    for ending in ('index', 'data-00000-of-00001'):
        os.replace(f'{path[:-1]}2.{ending}', f'{path}.{ending}')


DAMAGE = {
    'data missing': (lambda path: os.remove(path + '.data-00000-of-00001'), 'data file is missing'),
    'data empty': (_rewrite(lambda content: b''), 'data has 0 bytes, and its index describes'),
    'data short': (_rewrite(lambda content: content[:-1]), 'bytes, and its index describes'),
    'data long': (_rewrite(lambda content: content + b'x'), 'bytes, and its index describes'),
    'data zeros': (_rewrite(lambda content: bytes(len(content))), 'Checksum does not match'),
    'data half zeros': (_rewrite(lambda content: content[:len(content) // 2] + bytes(
        len(content) - len(content) // 2)), 'Checksum does not match'),
    'data bit': (_rewrite(_flip), 'Checksum does not match'),
    'index empty': (_rewrite(lambda content: b'', 'index'), 'too short to be an sstable'),
    'index zeros': (_rewrite(lambda content: bytes(len(content)), 'index'), 'not an sstable'),
    'index short': (_rewrite(lambda content: content[:-9], 'index'), 'not an sstable'),
    'index bit': (_rewrite(_flip, 'index'), ''),
    'index garbage': (_rewrite(lambda content: b'garbage' * 99, 'index'), 'not an sstable'),
    'index a folder': (_replace_index(os.mkdir), 'model.ckpt-4.index is not a file'),
    'index a pipe': (_replace_index(os.mkfifo), 'model.ckpt-4.index is not a file'),
    'index a link to nothing': (_replace_index(lambda path: os.symlink('nothing', path)),
                                'model.ckpt-4.index: No such file'),
    'of another step': (_rename_older, 'it is the checkpoint of step 2'),
}


@pytest.mark.parametrize('name', DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_with_a_note(copied, name, capsys):
    damage, reason = DAMAGE[name]
    path = os.path.join(copied, 'train', 'model.ckpt-4')
    damage(path)
    expected = 0 if damage is _rename_older else 2
    assert checkpoints.find_checkpoint(copied)[0] == checkpoints.last_step(copied) == expected
    output = capsys.readouterr().out
    assert output.startswith(f'note: {path} is passed over: ') and reason in output
    assert output.count('\n') == 1 and '/proc' not in output  # said once
    with pytest.raises(UserError) as error:
        checkpoints.find_checkpoint(copied, 4)
    assert str(error.value).startswith(f'{path} is damaged (') and reason in str(error.value)
    assert '\n' not in str(error.value) and len(str(error.value)) < len(path) + 300


def test_no_index_counts_because_of_its_name(synthetic, copied, capsys):
    names = [f'model.ckpt-{step}.index' for step in ('70', '9' * 60, '007', '+8', '٣')]
    for name in names:
        with open(os.path.join(copied, 'train', name), 'w') as stream:
            stream.write('garbage' * 99)
    assert checkpoints.last_step(copied) == 4
    assert _steps(copied) == [0, 2, 4, 70, int('9' * 60)]
    networks.train(synthetic, copied, 6, 'tiny', resume=True, save_steps=2, max_to_keep=2)
    assert 'done at step 6' in capsys.readouterr().out
    assert set(names) < set(os.listdir(os.path.join(copied, 'train')))  # kept
    assert _steps(copied) == [4, 6, 70, int('9' * 60)]


def test_training_goes_on_before_the_damage_and_saves_over_it(synthetic, copied, capsys):
    DAMAGE['data bit'][0](os.path.join(copied, 'train', 'model.ckpt-4'))
    DAMAGE['data empty'][0](os.path.join(copied, 'train', 'model.ckpt-2'))
    networks.train(synthetic, copied, 4, 'tiny', resume=True, save_steps=4)
    output = capsys.readouterr().out
    assert output.count('is passed over: ') == 2 and 'resuming at step 0' in output
    assert checkpoints.find_problem(checkpoints.find_checkpoint(copied, 4)[1]) is None
    with pytest.raises(UserError, match='model.ckpt-2 is damaged'):
        checkpoints.find_checkpoint(copied, 2)


def test_a_run_with_nothing_readable_is_not_started_anew(synthetic, copied):
    for step in (0, 2, 4):
        os.remove(os.path.join(copied, 'train', f'model.ckpt-{step}.data-00000-of-00001'))
    with pytest.raises(UserError, match='none of the checkpoints in .* can be read: copy them'):
        networks.train(synthetic, copied, 6, 'tiny', resume=True)


def test_a_link_to_a_whole_checkpoint_is_one(copied, tmp_path):
    for ending in ('index', 'data-00000-of-00001'):
        path = os.path.join(copied, 'train', f'model.ckpt-4.{ending}')
        os.rename(path, str(tmp_path / ending))
        os.symlink(str(tmp_path / ending), path)
    assert checkpoints.last_step(copied) == 4


def test_a_checkpoint_that_may_not_be_read_is_an_error(copied, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda path, mode: not path.endswith('4.index'))  # as root
    with pytest.raises(UserError, match=r'cannot read .*4.index \(Permission denied\): make it re'):
        checkpoints.last_step(copied)


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
                checkpoints.save(saver, session, run, each)
        before = [sorted(os.listdir(os.path.join(run, 'train'))) for run in runs_[:2]]
        checkpoints._delete(runs_[2], 3)
        assert _steps(runs_[2]) == [1, 2]
        assert checkpoints.restore_newest(saver, session, runs_[2]) == 2
        assert session.run([step, weight]) == [2, 22]
    assert [sorted(os.listdir(os.path.join(run, 'train'))) for run in runs_[:2]] == before


def test_a_run_of_such_a_name_is_trained_resumed_and_evaluated(synthetic, trained, tmp_path):
    other = shutil.copytree(trained, str(tmp_path / 'lr1'))
    before = sorted(os.listdir(os.path.join(other, 'train')))
    run = str(tmp_path / 'lr[1]')
    for steps in (4, 6):
        networks.train(synthetic, run, steps, 'tiny', resume=steps > 4, save_steps=1,
                       max_to_keep=2, summary_steps=1)
    assert _steps(run) == [5, 6]
    with networks.registered():
        assert evaluate(run, weights='raw')['step'] == 6
    assert sorted(os.listdir(os.path.join(other, 'train'))) == before
    assert any('tfevents' in name for name in os.listdir(os.path.join(run, 'train')))


def test_without_proc_a_link_stands_in(trained, monkeypatch):
    isdir = os.path.isdir
    monkeypatch.setattr(os.path, 'isdir', lambda path: '/proc/' not in path and isdir(path))
    with checkpoints.open_checkpoint(os.path.join(trained, 'train', 'model.ckpt-2')) as reader:
        assert reader.get_tensor('global_step') == 2


@pytest.fixture
def saved(tmp_path, default_graph):
    """A function that saves a checkpoint at a step in a new run, and the run."""
    step, run = tf.train.get_or_create_global_step(), runs.create('', '', str(tmp_path / 'run'))
    saver = tf.train.Saver()
    with tf.Session() as session:
        def save(number):
            session.run(step.assign(number))
            checkpoints.save(saver, session, run, number)
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
        save_(*arguments)
        saved[len(recorder.states)] = arguments[-1]

    with monkeypatch.context() as patch:
        recorder, save_ = power_cut.Recorder(os.path.join(run, 'train'), patch), checkpoints.save
        patch.setattr(checkpoints, 'save', save)
        networks.train(synthetic, run, 6, 'tiny', save_steps=1, max_to_keep=2)
    assert list(saved.values()) == list(range(7))
    random = np.random.RandomState(1)
    for number in range(60):
        cut = random.randint(min(saved), len(recorder.states))
        after = shutil.copytree(run, str(tmp_path / str(number)),
                                ignore=shutil.ignore_patterns('model.ckpt-*', 'checkpoint'))
        power_cut.write_state(recorder.states[cut], os.path.join(after, 'train'), random)
        finished = max(step for states, step in saved.items() if states <= cut + 1)
        assert checkpoints.last_step(after) in (finished, finished + 1), cut
    networks.train(synthetic, after, 8, 'tiny', resume=True, save_steps=1)
    assert checkpoints.last_step(after) == 8


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


def test_divergence_stops_and_keeps_finite_weights(synthetic, tmp_path):
    with pytest.raises(UserError) as error:
        networks.train(synthetic, tmp_path, 50, 'tiny', changes=['learning_rate=1e9'],
                       save_steps=1)
    last, checkpoint = checkpoints.find_checkpoint(str(tmp_path))
    assert str(error.value).startswith('loss or weights became NaN or infinite at step ')
    assert '(learning rate 1e+09). Last good checkpoint: ' in str(error.value)
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
        with checkpoints.explain_disk_errors(copied):
            fail(copied)
    assert re.fullmatch(rf'cannot write {copied}/(status.json|x) \(No space left on device\): free '
                        'disk space, then continue with --resume; last checkpoint: step 4',
                        str(error.value))
    assert not os.path.exists(leftover)
    assert _steps(copied) == [0, 2, 4]
    assert runs.read_status(copied)['state'] == 'stopped'


@pytest.mark.parametrize('code, advice', [
    ('EDQUOT', 'raise the quota'), ('EROFS', 'make it writable'), ('EACCES', 'make it writable'),
    ('EIO', 'check the disk'), ('EFBIG', 'ulimit -f')])
def test_each_error_of_a_disk_has_its_advice(copied, code, advice):
    number = getattr(errno, code)
    with pytest.raises(UserError, match=advice):
        with checkpoints.explain_disk_errors(copied):
            raise OSError(number, os.strerror(number))


def test_other_errors_are_not_explained_away(trained):
    with pytest.raises(OSError, match='Invalid argument'):
        with checkpoints.explain_disk_errors(trained):
            raise OSError(22, 'Invalid argument')
    with pytest.raises(OSError, match='No such file'):
        with checkpoints.explain_disk_errors(trained):
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
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip('only root can mount a small tmpfs')
    try:
        run = str(tmp_path / 'run')
        with pytest.raises(UserError, match=f'cannot write {run}[ /].*free disk space') as error:
            networks.train(synthetic, run, 1000, 'tiny', save_steps=1, max_to_keep=0)
        step, checkpoint = checkpoints.find_checkpoint(run)
        tf.train.load_checkpoint(checkpoint).get_tensor('conv1/weights')
        assert f'step {step}' in str(error.value)
        assert not [name for name in os.listdir(os.path.join(run, 'train')) if 'temp' in name]
    finally:
        subprocess.run(['umount', '-l', str(tmp_path)], check=True)

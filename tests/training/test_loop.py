"""The training loop: what a run directory holds, resuming, and trainings that signals stop."""

import contextlib
import dataclasses
import errno
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time

import pytest
import tensorflow.compat.v1 as tf

from permafrost import files, runs
from permafrost.errors import UsageError, UserError
from permafrost.inputs import pipeline
from permafrost.training import loop, strategy
from permafrost.training.checkpoints import finding
from tests import networks, processes

# An evaluation each 30 steps. Some are killed at the eleventh or eighteenth: the others take longer
# than a busy machine does to notice.
FLAGS = ('--steps=90', '--deterministic', '--validation=140', '--eval_epochs=0.96')


@pytest.fixture(scope='module')
def uninterrupted(synthetic, tmp_path_factory):
    """A deterministic run of 90 steps."""
    run = str(tmp_path_factory.mktemp('uninterrupted') / 'run')
    processes.finish(processes.train_command(synthetic, run, *FLAGS))
    return run


def _untimed_rows(run):
    """Return the lines of results.csv without the last two columns, which are times."""
    with open(os.path.join(str(run), 'results.csv')) as stream:
        return [line.rsplit(',', 2)[0] for line in stream]


def test_a_run_directory_holds_all_that_is_needed_later(synthetic, uninterrupted):
    config, extra = runs.read_config(uninterrupted)
    assert config.model == 'squeeze1' and config.steps == 90 and config.recipe.batch_size == 16
    assert extra['classes'] == list(synthetic.classes)
    assert extra['dataset_identity'] == synthetic.identity
    assert extra['train_images'] == 500 and 'train.py --model=squeeze1' in extra['command']
    assert extra['versions'][0]['tensorflow'] == tf.__version__
    status = runs.read_status(uninterrupted)
    assert status['state'] == 'done' and status['step'] == 90 and status['train_seconds'] > 0
    assert sorted(finding.list_checkpoints(uninterrupted)) == [0, 30, 60, 90]
    assert [line.split(',')[1] for line in _untimed_rows(uninterrupted)] == [
        'step', '30', '60', '90']
    assert os.path.getsize(os.path.join(uninterrupted, 'eval', 'validation', 'metrics.jsonl'))
    assert sorted(processes.losses(uninterrupted)) == list(range(1, 91))
    with open(os.path.join(uninterrupted, 'train', 'checkpoint')) as stream:
        assert '"model.ckpt-90"' in stream.read()  # relative: a moved directory works


def test_sigterm_saves_and_a_resumed_run_gives_bit_equal_losses(
        synthetic, tmp_path, uninterrupted):
    """This also shows that two deterministic trainings are bit-equal."""
    arguments = processes.train_command(synthetic, tmp_path, *FLAGS)
    code, output = processes.interrupt(arguments, r'^step 11/', signal.SIGTERM)
    assert code == 143, output
    stopped = finding.last_step(str(tmp_path))
    assert 11 <= stopped < 90
    assert f'stopped at step {stopped} by SIGTERM' in output
    assert f'train.py --run {tmp_path} --resume\n' in output.split('next: ')[1]
    assert runs.read_status(str(tmp_path))['state'] == 'stopped'
    output = processes.finish(arguments + ['--resume'])
    assert f'resuming at step {stopped}' in output
    assert f'step {stopped + 1}/90' in output
    assert processes.losses(tmp_path) == processes.losses(uninterrupted)
    assert _untimed_rows(tmp_path) == _untimed_rows(uninterrupted)


def test_sigkill_loses_no_more_than_the_save_interval(synthetic, tmp_path, uninterrupted):
    arguments = processes.train_command(synthetic, tmp_path, *FLAGS, '--save_steps=5')
    code, output = processes.interrupt(arguments, r'^step 18/', signal.SIGKILL)
    assert code == -signal.SIGKILL
    reached = max(int(step) for step in re.findall(r'^step (\d+)/', output, re.M))
    saved = finding.last_step(str(tmp_path))
    assert reached - saved <= 5
    processes.finish(arguments + ['--resume'])
    # The event file of a killed run may lack its last points; the others are the same.
    expected, curve = processes.losses(uninterrupted), processes.losses(tmp_path)
    assert curve == {step: expected[step] for step in curve}
    assert set(range(saved + 1, 91)) <= set(curve)
    assert _untimed_rows(tmp_path) == _untimed_rows(uninterrupted)


def test_sigterm_while_starting_exits_at_once(synthetic, tmp_path):
    code, output = processes.interrupt(
        processes.train_command(synthetic, tmp_path, '--steps=100000'), '^run: ')
    assert code == 143, output
    assert 'Traceback' not in output


@pytest.mark.parametrize('steps', [0, 3])
def test_sigterm_ends_a_training_whose_queue_is_filling(synthetic, tmp_path, monkeypatch, steps):
    """The disk is slow from the record on that makes the next step wait."""
    batch_size, buffer_size = 32, 64
    monkeypatch.setattr(pipeline, 'READ_BATCH', 1)
    monkeypatch.setattr(pipeline, 'SHUFFLE_BUFFER', buffer_size)
    num_read, made, timers = [0], [], []
    read_up_to = tf.FixedLengthRecordReader.read_up_to

    def wait_for_disk():
        num_read[0] += 1
        if num_read[0] > buffer_size + steps * batch_size:
            if len(made) == steps and not timers:
                timers.append(threading.Timer(.2, os.kill, (os.getpid(), signal.SIGTERM)))
                timers[0].start()
            time.sleep(.5)

    def read_slowly(*arguments, **options):
        with tf.control_dependencies([tf.py_func(wait_for_disk, [], [])]):
            return read_up_to(*arguments, **options)

    class CountSteps(tf.train.SessionRunHook):
        def after_run(self, context, values):
            made.append(None)

    monkeypatch.setattr(tf.FixedLengthRecordReader, 'read_up_to', read_slowly)
    with networks.registered():
        code = loop.train(networks.train_setup(synthetic, tmp_path, 99, source='stream'),
                          extra_hooks=lambda training: [CountSteps()])
    assert code == 143 and num_read[0] < buffer_size + (steps + 1) * batch_size
    # A shuffle queue that is closed gives what it has: that may be enough for the step that waits.
    assert len(made) in (steps, steps + 1)
    assert finding.last_step(str(tmp_path)) == len(made)
    assert runs.read_status(str(tmp_path))['state'] == 'stopped'


@pytest.fixture(scope='module')
def long_run(synthetic, tmp_path_factory):
    """A deterministic run of 200 steps."""
    run = str(tmp_path_factory.mktemp('long') / 'run')
    processes.finish(processes.train_command(synthetic, run, '--steps=200', '--deterministic'))
    return run


def _wait_while(condition, terminal):
    """Read what is written to a terminal, None if it is closed, while `condition()`."""
    while condition():
        if terminal is None:
            time.sleep(.05)
        elif select.select([terminal], [], [], .05)[0]:
            with contextlib.suppress(OSError):  # nobody has it open any more
                os.read(terminal, 65536)


@pytest.mark.slow
@pytest.mark.parametrize('shell, name, code', [
    ('exec "$@"', 'SIGHUP', 129), ('"$@" 2>&1 | tee log; exit ${PIPESTATUS[0]}', 'SIGINT', 130),
    ('exec "$@" >/dev/full 2>&1', 'SIGTERM', 143), ('exec "$@" <&- >&- 2>&-', 'SIGUSR1', 138)])
def test_no_finished_step_is_lost_whatever_becomes_of_the_output(
        synthetic, tmp_path, request, shell, name, code):
    """A closed terminal, a reader that ends, a full disk, and streams that are closed."""
    run = tmp_path / 'run'
    arguments = processes.train_command(synthetic, run, '--steps=200', '--deterministic')
    terminal, end = pty.openpty()

    def open_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    process = subprocess.Popen(['bash', '-c', shell, 'bash', *arguments], cwd=str(tmp_path),
                               stdin=end, stdout=end, stderr=end, preexec_fn=open_terminal)
    os.close(end)
    _wait_while(lambda: max(processes.losses(run), default=0) < 11 and process.poll() is None,
                terminal)
    if name == 'SIGHUP':
        os.close(terminal)
        terminal = None
    else:  # Ctrl-C reaches the reader of the log too
        os.killpg(process.pid, getattr(signal, name))
    _wait_while(lambda: process.poll() is None or runs.is_running(str(run)), terminal)
    assert process.returncode in (code, -signal.SIGINT)  # bash dies of it
    if terminal is not None:
        os.close(terminal)
    stopped = finding.last_step(str(run))
    assert stopped == max(processes.losses(run)) and 11 <= stopped < 200
    assert runs.read_status(str(run))['state'] == 'stopped'
    if name != 'SIGHUP':  # what follows is the same for all
        return
    long_run = request.getfixturevalue('long_run')
    processes.finish([*arguments, '--resume'])
    assert processes.losses(run) == processes.losses(long_run)
    final, expected = (finding.find_checkpoint(str(each))[1] for each in (run, long_run))
    with open(final + '.data-00000-of-00001', 'rb') as first, open(
            expected + '.data-00000-of-00001', 'rb') as second:
        assert first.read() == second.read()


def test_another_seed_gives_other_losses(synthetic, tmp_path):
    for seed in (1, 2):
        networks.train(synthetic, tmp_path / str(seed), 1, 'tiny', seed=seed, summary_steps=1)
    assert processes.losses(tmp_path / '1')[1] != processes.losses(tmp_path / '2')[1]


def test_a_finished_run_is_left_alone_and_can_be_continued(synthetic, tmp_path, capsys):
    networks.train(synthetic, tmp_path, 3, 'tiny')
    networks.train(synthetic, tmp_path, 3, 'tiny', resume=True)
    assert f'nothing to do: {tmp_path} is already at step 3' in capsys.readouterr().out
    (tmp_path / 'status.json').unlink()  # as if only config.json and train/ had been copied
    networks.train(synthetic, tmp_path, 5, 'tiny', resume=True)
    output = capsys.readouterr().out
    assert 'resuming at step 3' in output and 'done at step 5' in output
    assert f'eval.py --run {tmp_path}\n' in output.split('next: ')[1]
    status = runs.read_status(str(tmp_path))
    assert status['step'] == 5 and 'train_seconds' not in status  # of the first steps: unknown
    with networks.registered():
        assert len(runs.read_config(str(tmp_path))[1]['versions']) == 1


def test_the_run_remembers_what_trained_it_the_last_one_last(synthetic, tmp_path, monkeypatch):
    def train(steps, engine, **options):
        monkeypatch.setattr(loop.engines, 'versions', lambda: {'engine': engine})
        networks.train(synthetic, tmp_path, steps, 'tiny', **options)
        with networks.registered():
            return [each['engine'] for each in runs.read_config(str(tmp_path))[1]['versions']]
    assert train(2, 'tf2') == ['tf2']
    assert train(2, 'tf1', resume=True) == ['tf2']  # nothing to do
    assert train(3, 'tf1', resume=True) == ['tf2', 'tf1']
    assert train(4, 'tf2', resume=True) == ['tf1', 'tf2']


def test_fewer_steps_than_are_done_do_not_end_a_run(synthetic, tmp_path, capsys):
    networks.train(synthetic, tmp_path, 5, 'tiny')
    with networks.registered():
        config, extra = runs.read_config(str(tmp_path))
        runs.write_config(str(tmp_path), dataclasses.replace(config, steps=9), extra)
    runs.write_status(str(tmp_path), state='stopped')
    with pytest.raises(UsageError, match='is at step 5 of 9, past --steps=3: leave --steps out'):
        networks.train(synthetic, tmp_path, 3, 'tiny', resume=True)
    with networks.registered():
        assert runs.read_config(str(tmp_path))[0].steps == 9
    assert runs.read_status(str(tmp_path))['state'] == 'stopped'
    networks.train(synthetic, tmp_path, 5, 'tiny', resume=True)  # end it here
    assert 'nothing to do' in capsys.readouterr().out


def test_a_run_with_a_best_checkpoint_is_evaluated_at_that(synthetic, tmp_path, capsys):
    networks.train(synthetic, tmp_path, 1, 'tiny')
    runs.write_status(str(tmp_path), best_step=1)
    networks.train(synthetic, tmp_path, 2, 'tiny', resume=True)
    assert f'eval.py --run {tmp_path} --step best\n' in capsys.readouterr().out


def test_a_run_that_goes_on_in_another_precision_says_so(synthetic, tmp_path):
    networks.train(synthetic, tmp_path, 3, 'tiny')
    path = str(tmp_path / 'config.json')
    value = files.read_json(path)
    value['config']['recipe']['compute_dtype'] = 'bfloat16'
    files.write_json(path, value)
    networks.train(synthetic, tmp_path, 5, 'tiny', resume=True)
    with networks.registered():
        config, _ = runs.read_config(str(tmp_path))
    assert (config.recipe.compute_dtype, config.earlier_compute_dtype) == (
        'float32', 'bfloat16 to step 3')


def test_a_run_without_its_checkpoints_starts_anew(synthetic, tmp_path, capsys):
    networks.train(synthetic, tmp_path, 3, 'tiny')
    for path in (tmp_path / 'train').glob('model.ckpt-*'):
        path.unlink()
    networks.train(synthetic, tmp_path, 4, 'tiny', resume=True)
    output = capsys.readouterr().out
    assert 'done at step 4' in output and 'resuming' not in output
    assert sorted(finding.list_checkpoints(str(tmp_path))) == [0, 4]


def test_a_training_that_fails_has_an_end_too(synthetic, tmp_path):
    states = []
    with networks.registered(), pytest.raises(UserError, match='became NaN or infinite'):
        loop.train(networks.train_setup(synthetic, tmp_path, 99, changes=['learning_rate=1e9']),
                   at_end=lambda run: states.append(runs.read_status(run)['state']))
    assert states == ['failed']


@pytest.mark.parametrize('error', [UserError('a server is lost'), SystemExit(143),
                                   ValueError('of a library')])
def test_a_training_that_another_error_ends_is_stopped(error, synthetic, tmp_path):
    class FailingHook(tf.train.SessionRunHook):
        def after_run(self, context, values):
            raise error

    states = []
    with networks.registered(), pytest.raises(type(error)):
        loop.train(networks.train_setup(synthetic, tmp_path, 99),
                   extra_hooks=lambda training: [FailingHook()],
                   at_end=lambda run: states.append(runs.read_status(run)['state']))
    assert states == ['stopped']


def test_a_run_is_not_done_before_the_other_tasks_know(synthetic, tmp_path, capsys):
    class Cluster(strategy.SingleProcess):
        others_know = False

    with networks.registered():
        assert loop.train(networks.train_setup(synthetic, tmp_path, 2), strategy=Cluster()) == 1
    assert runs.read_status(str(tmp_path))['state'] == 'stopped'
    assert 'stopped at step 2' in capsys.readouterr().out


def test_a_training_that_a_failing_disk_ends_has_an_end_too(synthetic, tmp_path):
    class FailingHook(tf.train.SessionRunHook):
        def after_run(self, context, values):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(tmp_path / 'train' / 'a'))

    states = []
    with networks.registered(), pytest.raises(UserError, match='Input/output error'):
        loop.train(networks.train_setup(synthetic, tmp_path, 99),
                   extra_hooks=lambda training: [FailingHook()],
                   at_end=lambda run: states.append(runs.read_status(run)['state']))
    assert states == ['stopped']


def test_the_name_of_a_run_cannot_write_to_the_terminal(synthetic, tmp_path, capsys):
    run = tmp_path / 'a\n\x1b[2J'
    networks.train(synthetic, run, 1, 'tiny')
    networks.train(synthetic, run, 1, 'tiny', resume=True)
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if r'a\n\x1b[2J' in line} == {
        'run:', 'done', 'next:', 'nothing'}
    assert not any('\x1b' in line or line.startswith('\x1b') for line in lines)

"""The states of the watchdog: what changes them, and how a process whose main thread hangs ends."""

import os
import signal
import threading
import time

import pytest

from permafrost.cli.ending_signals import ENDING_SIGNALS
from permafrost.cluster import watchdog
from permafrost.cluster.watchdog import State

LATER = 1e4  # seconds: every state has lasted too long by then


class Exit(BaseException):
    """Instead of the end of the process; its args are the exit code and the message."""


@pytest.fixture
def watcher(monkeypatch):
    """A Watchdog, not started, of a task that needs ps 0, which does not answer.

    Its clock stands at 0: only the time given to check() passes.
    """
    def exit_process(code, message=''):
        raise Exit(code, message)

    monkeypatch.setattr(watchdog, 'exit_process', exit_process)
    monkeypatch.setattr(watchdog.time, 'monotonic', lambda: 0.)
    others = {'ps 0': '127.0.0.1:1'}
    return watchdog.Watchdog({}, others, wait_secs=100.)


def _exit(watcher, after=LATER):
    with pytest.raises(Exit) as error:
        watcher.check(after)
    return error.value.args


def _fail():
    raise OSError('No space left on device')


def test_a_stall_is_reported_pinged_and_ended_by_a_heartbeat(watcher, capsys):
    pinged = threading.Event()
    watcher.ping = pinged.set
    watcher.check(29.)
    assert watcher.state is State.RUNNING and not capsys.readouterr().out
    watcher.check(31.)
    assert pinged.wait(60.)
    assert capsys.readouterr().out == ('no training step for 31 s: no answer from ps 0 '
                                       '(127.0.0.1:1)\n')
    watcher.heartbeat()
    watcher.check(29.)
    assert watcher.state is State.RUNNING and not capsys.readouterr().out


def test_a_heartbeat_of_the_last_evaluation_gives_more_time(watcher, monkeypatch):
    watcher.enter(State.SAVING)
    monkeypatch.setattr(watchdog.time, 'monotonic', lambda: 150.)
    watcher.heartbeat()
    watcher.check(200.)
    assert watcher.state is State.SAVING
    assert _exit(watcher)[0] == 1


def test_a_stall_that_lasts_saves_and_fails(watcher):
    saved = threading.Event()
    watcher.emergency_save = saved.set
    watcher.check(129.)
    assert watcher.state is State.RUNNING and not saved.is_set()
    code, message = _exit(watcher, 131.)
    assert code == 1 and saved.is_set()
    assert message == ('no training step for 131 s: no answer from ps 0 (127.0.0.1:1); start the '
                       'missing task, then restart this one')
    watcher.emergency_save = _fail
    assert '(the last steps are lost: No space left on device)' in _exit(watcher)[1]


@pytest.mark.parametrize('number', ENDING_SIGNALS)
def test_a_signal_in_a_step_that_hangs_saves_and_exits(watcher, number):
    saved = threading.Event()
    watcher.emergency_save = saved.set
    watcher.receive_signal(number)
    assert watcher.state is State.STOPPING
    watcher.heartbeat()  # the step has ended after all; the main thread has not left the loop yet
    assert watcher.state is State.STOPPING
    watcher.check(4.)
    assert not saved.is_set()
    assert _exit(watcher, 6.) == (128 + number, '') and saved.is_set()


def test_other_signals_are_ignored(watcher):
    watcher.receive_signal(signal.SIGCHLD)
    assert watcher.state is State.RUNNING


def test_exiting_without_saving_is_a_failure(watcher, monkeypatch):
    watcher.receive_signal(signal.SIGTERM)
    watcher.emergency_save = _fail
    code, message = _exit(watcher)
    assert code == 1 and 'could not save (No space left on device): --resume' in message
    monkeypatch.setattr(watchdog, 'SAVE_SECS', 0.)
    ended = threading.Event()
    watcher.emergency_save = ended.wait
    assert _exit(watcher) == (1, 'could not save (it took more than 0 s): --resume continues from '
                              'the last checkpoint')
    ended.set()


def test_a_main_thread_that_goes_on_ends_by_itself(watcher):
    """It closes the session below an emergency save, which then fails although all is saved."""
    def go_on():
        watcher.enter(State.SAVING)
        raise RuntimeError('Attempted to use a closed Session.')

    watcher.emergency_save = go_on
    watcher.receive_signal(signal.SIGTERM)
    watcher.check(6.)
    assert watcher.state is State.SAVING
    assert 'no answer from ps 0' in _exit(watcher)[1]  # it hangs again


def test_a_step_that_ends_during_the_emergency_save_goes_on(watcher, monkeypatch):
    def go_on():
        monkeypatch.setattr(watchdog.time, 'monotonic', lambda: 131.)
        watcher.heartbeat()

    watcher.emergency_save = go_on
    watcher.check(131.)
    watcher.check(160.)
    assert watcher.state is State.RUNNING


def test_servers_that_do_not_answer_end_the_saving_early(monkeypatch, watcher):
    """A cut connection: nothing is saved, however long it takes."""
    monkeypatch.setattr(watchdog, 'ASK_SECS', .01)
    ended = threading.Event()
    watcher = watchdog.Watchdog({'ps 0': '127.0.0.1:1'}, {}, wait_secs=100.)
    watcher.emergency_save = ended.wait
    code, message = _exit(watcher)
    assert code == 1 and message.endswith(
        '(the last steps are lost: no answer from ps 0 (127.0.0.1:1))')
    ended.set()


def test_a_save_that_fails_for_lack_of_a_server_names_the_server():
    """TensorFlow's own error is about the session that it has closed."""
    dog = watchdog.Watchdog({'ps 0': '127.0.0.1:1'}, {}, wait_secs=100.)
    dog.emergency_save = _fail
    assert dog._save() == 'no answer from ps 0 (127.0.0.1:1)'


def test_a_worker_goes_on_while_the_chief_may_be_evaluating(watcher, monkeypatch, capsys):
    watcher = watchdog.Watchdog({}, {}, wait_secs=100., waits_for_chief=True)
    watcher.check(LATER)
    assert watcher.state is State.RUNNING
    assert 'all tasks answer, and the chief may be evaluating' in capsys.readouterr().out
    monkeypatch.setattr(watchdog.network, 'unanswered', lambda others: 'worker 0')
    assert _exit(watcher)[0] == 1


def test_a_new_session_makes_steps_again_unless_a_signal_came(watcher):
    watcher.enter(State.NOTIFYING)
    watcher.restart()
    assert watcher.state is State.RUNNING
    watcher.receive_signal(signal.SIGTERM)
    watcher.restart()
    assert watcher.state is State.STOPPING


def test_hanging_while_saving_is_a_failure_with_a_signal_or_without(watcher):
    watcher.enter(State.SAVING)
    assert watcher.state is State.SAVING
    watcher.check(159.)
    for _ in range(2):
        code, message = _exit(watcher)
        assert code == 1 and 'could not save (no answer from ps 0' in message
        watcher.receive_signal(signal.SIGTERM)
        assert watcher.state is State.SAVING


def test_hanging_after_saving_is_a_failure_unless_a_signal_asked_for_the_end(watcher):
    watcher.enter(State.SAVING)
    watcher.enter(State.NOTIFYING)
    assert watcher.state is State.NOTIFYING
    code, message = _exit(watcher)
    assert code == 1 and 'could not end with the other tasks: no answer from ps 0 (' in message
    watcher.receive_signal(signal.SIGTERM)
    assert _exit(watcher) == (143, '')


def test_a_worker_that_saves_nothing_has_nothing_to_lose(watcher):
    watcher.receive_signal(signal.SIGINT)
    watcher.enter(State.NOTIFYING)
    assert watcher.state is State.NOTIFYING and _exit(watcher) == (130, '')


def test_failures_while_closing_do_not_matter(watcher):
    watcher.enter(State.SAVING)
    watcher.enter(State.NOTIFYING)
    watcher.emergency_save = _fail
    watcher.enter(State.CLOSING)
    assert watcher.state is State.CLOSING and _exit(watcher, 11.) == (0, '')
    watcher.receive_signal(signal.SIGTERM)
    assert _exit(watcher) == (143, '')


def test_its_thread_receives_signals_although_the_main_thread_handles_them(monkeypatch):
    monkeypatch.setattr(watchdog, 'exit_process', lambda *unused: None)  # after a long pause
    handler = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with watchdog.Watchdog({}, {}, 100.) as watcher:
            os.kill(os.getpid(), signal.SIGTERM)
            deadline = time.monotonic() + 60.
            while watcher.state is not State.STOPPING and time.monotonic() < deadline:
                time.sleep(.01)
            assert watcher.state is State.STOPPING
    finally:
        signal.signal(signal.SIGTERM, handler)

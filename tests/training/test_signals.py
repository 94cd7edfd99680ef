"""A first signal sets the exit code, a second one ends the process, and handlers come back."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from permafrost.training.signals import Signals
from tests.processes import ROOT

CODES = {'SIGTERM': 143, 'SIGINT': 130, 'SIGHUP': 129, 'SIGQUIT': 131, 'SIGUSR1': 138,
         'SIGXCPU': 152}


@pytest.fixture(autouse=True)
def hangups_are_not_ignored():
    """As in a terminal: the tests themselves may run under nohup."""
    handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, handler)


@pytest.mark.parametrize('name', sorted(CODES))
def test_the_first_signal_sets_the_exit_code_and_prints_nothing(name, capfd):
    number = getattr(signal, name)
    handler = signal.getsignal(number)
    with Signals('ending soon') as signals:
        assert (signals.code, signals.name) == (0, '')
        signals.report()
        os.kill(os.getpid(), number)
        assert (signals.code, signals.name) == (CODES[name], name)
        assert capfd.readouterr().err == ''
        signals.report()
        signals.report()
    assert capfd.readouterr().err == f'{name}: ending soon\n'
    assert signal.getsignal(number) is handler


def test_a_hangup_that_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.code == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_function_is_called_although_the_main_thread_may_be_blocked():
    threads = []
    with Signals() as signals, signals.calling(lambda: threads.append(threading.current_thread())):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert len(threads) == 1 and threads[0] is not threading.main_thread()
    assert signal.set_wakeup_fd(-1) == -1


def _two_signals(first, second):
    script = ('import os, signal\n'
              'from permafrost.training.signals import Signals\n'
              'with Signals():\n'
              f'    os.kill(os.getpid(), signal.{first})\n'
              '    print("first", flush=True)\n'
              f'    os.kill(os.getpid(), signal.{second})\n'
              '    print("second", flush=True)\n')
    return subprocess.run([sys.executable, '-c', script], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, universal_newlines=True)


def test_a_second_signal_ends_the_process_at_once():
    process = _two_signals('SIGINT', 'SIGTERM')
    assert process.returncode == 130 and process.stdout == 'first\n'


@pytest.mark.parametrize('second', ['SIGHUP', 'SIGUSR1', 'SIGXCPU'])
def test_a_warning_that_comes_again_does_not(second):
    process = _two_signals(second, second)
    assert process.returncode == 0 and process.stdout == 'first\nsecond\n'

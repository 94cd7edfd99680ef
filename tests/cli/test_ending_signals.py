"""The signals that end a process."""

import os
import signal

import pytest

from permafrost.cli import ending_signals
from permafrost.cli.ending_signals import ENDING_SIGNALS, on_ending_signals

NAMES = {'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGXCPU'}


def test_every_signal_that_ends_a_process_is_known():
    assert {number.name for number in ENDING_SIGNALS} == NAMES


def test_handlers_are_set_and_returned_but_nohup_is_respected():
    def handler(number, frame):
        pass

    original = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    try:
        for hangup, count in ((signal.SIG_DFL, len(NAMES)), (signal.SIG_IGN, len(NAMES) - 1)):
            signal.signal(signal.SIGHUP, hangup)
            before = on_ending_signals(handler)
            assert len(before) == count
            assert signal.getsignal(signal.SIGTERM) is handler
            assert (signal.getsignal(signal.SIGHUP) is handler) == (hangup is signal.SIG_DFL)
    finally:
        for number, previous in original.items():
            signal.signal(number, previous)


def test_a_signal_whose_exception_was_lost_raises_it_again(monkeypatch):
    monkeypatch.setattr(ending_signals, '_exit_code', None)
    original = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    try:
        ending_signals.exit_on_ending_signals()
        ending_signals.exit_if_signalled()
        for act in (lambda: os.kill(os.getpid(), signal.SIGTERM),
                    ending_signals.exit_if_signalled):
            with pytest.raises(SystemExit) as error:
                act()
            assert error.value.code == 143
    finally:
        for number, previous in original.items():
            signal.signal(number, previous)

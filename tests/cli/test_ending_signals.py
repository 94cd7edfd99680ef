"""The signals that end a process."""

import signal

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

"""A first signal sets the exit code, a second one ends the process, and handlers come back."""

import os
import signal
import subprocess
import sys

import pytest

from permafrost.training.signals import Signals
from tests.processes import ROOT


@pytest.mark.parametrize('number, code', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_sets_the_exit_code_and_prints_the_message(number, code, capfd):
    handler = signal.getsignal(number)
    with Signals('ending soon') as signals:
        assert signals.code == 0
        os.kill(os.getpid(), number)
        assert signals.code == code
    assert capfd.readouterr().err == f'\n{number.name}: ending soon\n'
    assert signal.getsignal(number) is handler


def test_the_second_signal_ends_the_process_at_once():
    script = ('import os, signal\n'
              'from permafrost.training.signals import Signals\n'
              'with Signals():\n'
              '    os.kill(os.getpid(), signal.SIGINT)\n'
              '    print("still here", flush=True)\n'
              '    os.kill(os.getpid(), signal.SIGTERM)\n'
              '    print("not reached", flush=True)\n')
    process = subprocess.run([sys.executable, '-c', script], cwd=ROOT, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, universal_newlines=True)
    assert process.returncode == 130 and process.stdout == 'still here\n'

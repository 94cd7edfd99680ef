"""A child ends with its parent, however that ends, also while it is stopped."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.processes import ROOT

PARENT = '''
import signal, subprocess, sys, time
sys.path.insert(0, {root!r})
from permafrost.cli import child_process
child = subprocess.Popen(['sleep', '600'], preexec_fn=child_process.end_with_parent({number}))
child.send_signal(signal.SIGSTOP)
print(child.pid, flush=True)
time.sleep(600)
'''


@pytest.mark.skipif(sys.platform != 'linux', reason='needs Linux')
def test_a_stopped_child_ends_with_a_parent_that_is_killed():
    parent = subprocess.Popen(
        [sys.executable, '-c', PARENT.format(root=ROOT, number=int(signal.SIGKILL))],
        stdout=subprocess.PIPE, universal_newlines=True)
    with parent:
        child = int(parent.stdout.readline())
        parent.kill()
    for _ in range(600):
        if not is_alive(child):
            return
        time.sleep(.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail('the child outlived its parent')


def is_alive(pid):
    """Return whether a process runs or is stopped: one that has ended may wait for init."""
    try:
        with open(f'/proc/{pid}/stat') as stream:
            return stream.read().rpartition(')')[2].split()[0] not in ('Z', 'X')
    except (FileNotFoundError, ProcessLookupError):
        return False

"""The child process in which graphs of other people are loaded."""

import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time

import pytest

from tests.processes import ROOT

START = '''
import os, resource, signal, sys, time
sys.path.insert(0, sys.argv[1])
from permafrost.cli import console
from permafrost.evaluation.frozen_graphs.reading import isolation
console.install()
isolation.continue_in_child('strange\\x1b.pb')
'''
# Makes stdin the terminal of this session.
TERMINAL = '''
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
'''
# Prints the signals of one second after the first.
COUNT = '''
received = []
for number in (signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, lambda number, frame: received.append(signal.Signals(number).name))
print('ready', flush=True)
for _ in range(600):
    time.sleep(0.1)
    if received:
        break
time.sleep(1)
print(*received, flush=True)
os._exit(7)
'''


def run(code, *arguments, **options):
    """Return the exit code and the output of a process that goes on in a child with `code`."""
    process = subprocess.run([sys.executable, '-c', START + code, ROOT, *arguments],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             universal_newlines=True, timeout=120, **options)
    return process.returncode, process.stdout


def test_output_and_exit_code_are_those_of_the_child():
    assert run("print('out'); print('err', file=sys.stderr); sys.exit(3)") == (3, 'out\nerr\n')


@pytest.mark.parametrize('code, reason', [
    ("os.write(2, b'F file.cc:3] Check failed: a == b\\n  @ 0x7 stack\\n'); os.abort()",
     'Check failed: a == b'),
    ('os.kill(os.getpid(), signal.SIGSEGV)', 'SIGSEGV (signal 11)'),
    ('os.kill(os.getpid(), signal.SIGKILL)', 'SIGKILL (signal 9), maybe because memory ran out')])
def test_a_crash_is_one_line(code, reason):
    assert run(code) == (1, f'error: strange\\x1b.pb: TensorFlow crashed: {reason}\n')


def test_memory_is_limited_and_the_stack_is_large():
    code, text = run('''
for limit in (resource.RLIMIT_DATA, resource.RLIMIT_STACK):
    print(resource.getrlimit(limit)[0])
try:
    bytearray(1 << 46)
except MemoryError:
    print('refused')
''')
    data, stack, refused = text.split()
    assert code == 0 and 0 < int(data) < 1 << 46 and int(stack) == 120 << 20
    assert refused == 'refused'


def test_processes_that_it_starts_have_the_stack_from_before(tmp_path):
    """Each of their threads would have a stack of 120 MB."""
    (tmp_path / 'resource_server.py').write_text('''
import json, resource
print(json.dumps({'version': resource.getrlimit(resource.RLIMIT_STACK)[0]}), flush=True)
''')
    code, text = run('''
from permafrost.evaluation.runtimes import client
client.python = lambda environment: sys.executable
with client.Child('resource_server', 'x', PYTHONPATH=sys.argv[2]) as child:
    print(child.version, resource.getrlimit(resource.RLIMIT_STACK)[0])
''', str(tmp_path))
    usual = resource.getrlimit(resource.RLIMIT_STACK)[0]
    assert (code, text) == (0, f'{usual} {120 << 20}\n')


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='needs prctl')
def test_a_child_ends_with_its_parent():
    """However that ends: the child runs a graph of someone else."""
    _check_child_ends_after(signal.SIGKILL)


def test_a_child_is_awaited_although_its_signal_was_ignored():
    usual = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run("print('done')")[1] == 'done\n'
    finally:
        signal.signal(signal.SIGCHLD, usual)


def test_a_signal_reaches_the_child():
    assert _check_child_ends_after(signal.SIGTERM) in (1, 143)


def _check_child_ends_after(number):
    """Send a signal to a process that waits for its child; return its exit code."""
    process = subprocess.Popen(
        [sys.executable, '-c', START + "print(os.getpid(), flush=True); time.sleep(60)", ROOT],
        stdout=subprocess.PIPE, universal_newlines=True)
    child = int(process.stdout.readline())
    assert child != process.pid
    process.send_signal(number)
    code = process.wait(30)
    for _ in range(100):
        if not os.path.exists(f'/proc/{child}'):
            break
        time.sleep(0.1)
    assert not os.path.exists(f'/proc/{child}')
    process.stdout.close()
    return code


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='needs the codes of Linux')
@pytest.mark.parametrize('key, expected', [
    (b'\x03', ['SIGINT']), (b'\x1c', ['SIGQUIT']), (None, ['SIGINT'])])
def test_a_signal_reaches_the_child_once(key, expected):
    """The terminal sends its signals to both processes; a second one would end the clean-up."""
    terminal, own = pty.openpty()
    process = subprocess.Popen([sys.executable, '-c', TERMINAL + START + COUNT, ROOT],
                               stdin=own, stdout=subprocess.PIPE, universal_newlines=True,
                               start_new_session=True)
    try:
        assert process.stdout.readline() == 'ready\n'
        if key:
            os.write(terminal, key)
        else:
            process.send_signal(signal.SIGINT)  # to the parent alone
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(own)
        os.close(terminal)
    assert output.split() == expected and process.returncode == 7


def test_a_signal_right_after_the_fork_reaches_the_child():
    """Before the handler is set it would end the parent alone."""
    process = subprocess.run([sys.executable, '-c', """
import os, signal
fork = os.fork
def fork_and_signal():
    child = fork()
    if child:
        os.kill(os.getpid(), signal.SIGTERM)
    return child
os.fork = fork_and_signal
""" + START + 'time.sleep(60)', ROOT], stderr=subprocess.PIPE, universal_newlines=True, timeout=50)
    assert (process.returncode, process.stderr) == (
        1, 'error: strange\\x1b.pb: TensorFlow crashed: SIGTERM (signal 15)\n')


def test_nothing_happens_after_tensorflow_was_imported():
    code, text = run('''
''', env=dict(os.environ, PYTHONSTARTUP=''))
    assert (code, text) == (0, '')
    script = re.sub('isolation.continue', "sys.modules['tensorflow'] = None; first = os.getpid(); "
                    'isolation.continue', START) + 'print(first == os.getpid())'
    process = subprocess.run([sys.executable, '-c', script, ROOT], stdout=subprocess.PIPE,
                             universal_newlines=True, timeout=120)
    assert process.stdout == 'True\n'

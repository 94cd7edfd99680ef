"""Output to streams that are closed, dead, full or not UTF-8: nothing raises, nothing stops."""

import os
import pty
import subprocess
import sys

import pytest

from tests.processes import ROOT

SCRIPT = '''
import os, sys
sys.path.insert(0, {root!r})
from permafrost.cli import console
console.install()
import tqdm
for number in tqdm.tqdm(range(100), disable=False):
    print('line', number, 'x' * 2000, flush=True)
print('gr\\xfcn \\udce9', flush=True)
print('bar', file=sys.stderr)
files = [open(os.devnull).fileno() for _ in range(3)]
with open({end!r}, 'w') as stream:
    print('reached', min(files) > 2, console.report_lost(), file=stream)
'''


@pytest.fixture
def end_of(tmp_path):
    """end_of(shell_text, **environment): run the script as `"$@"`, return its end and output."""
    end = tmp_path / 'end'

    def run(text, **environment):
        code = SCRIPT.format(root=ROOT, end=str(end))
        done = subprocess.run(
            ['bash', '-c', text, 'bash', sys.executable, '-c', code], cwd=str(tmp_path),
            close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=dict(os.environ, **environment), timeout=60)
        return end.read_text(), done.stdout, done.stderr
    return run


@pytest.mark.parametrize('text, lost', [
    ('"$@" | head -c 10', False), ('"$@" 2>&1 | head -c 10', False),
    ('"$@" >&-', False), ('"$@" 2>&-', False), ('"$@" <&- >&- 2>&-', False),
    ('"$@" >/dev/full', True), ('"$@" 2>/dev/full', True), ('"$@" >/dev/full 2>&1', True)])
def test_output_that_nobody_receives_ends_nothing(end_of, text, lost):
    end, out, err = end_of(text)
    assert end == f'reached True {lost}\n'
    note = b'note: some output was lost (No space left on device)\n'
    assert (out + err).count(note) == (1 if lost and '2>&1' not in text else 0)
    assert b'Traceback' not in err and b'Exception' not in err


@pytest.mark.parametrize('environment', [
    {'PYTHONIOENCODING': 'ascii'},
    {'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0', 'PYTHONUTF8': '0'}])
def test_a_name_that_the_encoding_lacks_is_escaped(end_of, environment):
    end, out, _ = end_of('"$@"', **environment)
    assert end == 'reached True False\n' and out.endswith(b'\ngr\\xfcn \\udce9\n')


def test_a_name_that_is_not_utf_8_is_escaped(end_of):
    assert end_of('"$@"', PYTHONIOENCODING='utf-8')[1].endswith('\ngrün \\udce9\n'.encode())


def test_a_terminal_that_is_closed_ends_nothing(end_of):
    terminal, end = pty.openpty()
    os.set_inheritable(end, True)
    try:
        os.close(terminal)
        assert end_of(f'"$@" >&{end} 2>&1')[0] == 'reached True False\n'
    finally:
        os.close(end)


def test_a_reader_that_is_slow_gets_everything_of_a_pipe_that_does_not_block(end_of):
    _, out, _ = end_of(
        '{ python3 -c "import os; os.set_blocking(1, False)"; "$@"; } | (sleep .5; cat)')
    assert out.count(b'line') == 100


def test_streams_that_a_caller_has_replaced_stay(capsys):
    from permafrost.cli import console
    stdout = sys.stdout
    console.install()
    assert sys.stdout is stdout

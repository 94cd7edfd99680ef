"""A training in a process of its own: started, watched, stopped; it does not outlive the sweep."""

import contextlib
import os
import re
import subprocess
import sys
from typing import Optional, Sequence

from permafrost import files, runs
from permafrost.cli import child_process, commands
from permafrost.cli.ending_signals import REQUEST_TO_END
from permafrost.errors import one_line, printable
from permafrost.experiments.sweeps.plan import PlannedRun

TRAIN = os.path.join(commands.ROOT, 'train.py')
LOG = 'train.log'
TAIL_BYTES = 4096
START = '--- the sweep starts this training ---\n'


class TrainingProcess:
    """train.py in `run.directory`, which continues there; what it prints goes to train.log."""

    def __init__(self, run: PlannedRun, more_arguments: Sequence[str] = ()):
        self.run = run
        self.is_stopped = False
        files.make_folder(run.directory)
        with open(os.path.join(run.directory, LOG), 'ab') as log:
            log.write(START.encode())
            log.flush()
            self._process = subprocess.Popen(
                [sys.executable, TRAIN, *run.arguments, *more_arguments,
                 f'--run={run.directory}', '--resume'],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the sweep, which stops this
                preexec_fn=child_process.end_with_parent(REQUEST_TO_END))

    def code(self) -> Optional[int]:
        """Return the exit code, negative after a signal; None while the training runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Let the training save and end. A second time does nothing."""
        if not self.is_stopped:
            self.is_stopped = True
            self._process.send_signal(REQUEST_TO_END)

    def end(self) -> None:
        """Stop the training, and wait until it has ended."""
        self.stop()
        self._process.wait()

    def step(self) -> int:
        """Return the last step in the log, or that of the last save."""
        steps = re.findall(r'^(?:step|resuming at step) (\d+)', _this_try(self.run),
                           re.MULTILINE)
        return max(int(steps[-1]) if steps else 0, self.run.step())


def _this_try(run: PlannedRun) -> str:
    """Return the end of the log, from the last start on."""
    with contextlib.suppress(OSError), open(os.path.join(run.directory, LOG), 'rb') as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
        return stream.read().decode(errors='replace').rpartition(START)[2]
    return ''


def reason_of_failure(run: PlannedRun, code: int) -> str:
    """Return why a training ended, as `error_of` does, and the path of its log."""
    return f'{error_of(run, code)} ({printable(os.path.join(run.directory, LOG))})'


def error_of(run: PlannedRun, code: int) -> str:
    """Return why a training ended: a signal, the error in its log, or its exit code."""
    # the last line of a stack trace, too
    errors = re.findall(r'^(?:error: |(?=[\w.]*(?:Error|Exception): ))(.*)', _this_try(run),
                        re.MULTILINE)
    if code < 0:
        return f'killed by signal {-code}'
    return printable(one_line(errors[-1])) if errors else f'exit code {code}'


def claim(directory: str) -> Optional[contextlib.ExitStack]:
    """Return a context that holds a run for this sweep until it is closed, or this process ends.

    None if another sweep holds the run, or a training still runs in it: that of a sweep that was
    killed takes a moment to save.
    """
    files.make_folder(directory)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(os.path.join(directory, 'sweep.lock'), _refuse))
        except _Held:
            return None
        return None if runs.is_running(directory) else stack.pop_all()


class _Held(Exception):
    """Another process holds the lock."""


def _refuse() -> None:
    raise _Held

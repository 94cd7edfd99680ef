"""Run a script of this repository in the test's own process, without the seconds of a start."""

import contextlib
import io
import os
import runpy
import signal
import sys
import warnings
from typing import NamedTuple
from unittest import mock

from absl import app, flags
from absl.testing import flagsaver

from permafrost.cli.ending_signals import ENDING_SIGNALS
from tests.processes import ROOT

app.define_help_flags()  # defined once a process, so before the flags are saved


class Result(NamedTuple):
    """How a script ended."""
    code: int
    stdout: str
    stderr: str


def run(script, *arguments):
    """Return the Result of a script, such as 'train.py', or of a package, such as 'benchmarks'.

    What it changes in the process is restored: flags, signal handlers, environment, sys.path.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    path = os.path.join(ROOT, script)
    argv = [path] + [str(argument) for argument in arguments]
    handlers = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, 'argv', argv))
        stack.enter_context(mock.patch.object(sys, 'path', list(sys.path)))
        stack.enter_context(mock.patch.dict(os.environ))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(flagsaver.flagsaver())
        stack.enter_context(contextlib.redirect_stdout(stdout))
        stack.enter_context(contextlib.redirect_stderr(stderr))
        for number, handler in handlers.items():
            stack.callback(signal.signal, number, handler)
        try:
            if script.endswith('.py'):
                runpy.run_path(path, run_name='__main__')
            else:
                runpy.run_module(script, run_name='__main__', alter_sys=True)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return Result(code, stdout.getvalue(), stderr.getvalue())


def parse_flags(script, arguments):
    """Return {name: value} of the flags that `arguments` set; the script must accept them all."""
    path = os.path.join(ROOT, script)
    with flagsaver.flagsaver(), mock.patch.object(sys, 'path', list(sys.path)), \
            contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        runpy.run_path(path, run_name='script')  # defines the flags, but does not run main
        assert flags.FLAGS([path, *arguments])[1:] == []
        return {name: flags.FLAGS[name].value for name in flags.FLAGS if flags.FLAGS[name].present}

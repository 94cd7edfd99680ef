"""Timing in turn, spreads, child trainings, and what machine it was. Imports no TensorFlow."""

import collections
import os
import platform
import subprocess
import sys
import tempfile
import time

import numpy as np

from permafrost import runs, runtime
from permafrost.errors import UserError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Counted before TensorFlow starts: with KMP_AFFINITY, MKL binds this very thread to one of them.
CORES = runtime.cores()

Child = collections.namedtuple('Child', 'output memory')  # memory: peak RSS in MB


def in_turn(contestants, rounds, show):
    """{name: [what the function returned in each round]} of `contestants`: {name: function}.

    The order is reversed from round to round, so that a machine that slows down or speeds up
    favours none of them. `show(text)` says what each round gave.
    """
    values = {name: [] for name in contestants}
    order = list(contestants)
    for number in range(rounds):
        for name in order:
            values[name].append(contestants[name]())
        order.reverse()
        show('%d/%d: %s' % (number + 1, rounds, ', '.join(
            '%s %.4g' % (name, values[name][-1]) for name in contestants)))
    return values


def rate(run, seconds, settle=2):
    """Calls of `run` a second, over about `seconds`, after `settle` calls that do not count."""
    for _ in range(settle):
        run()
    calls, start = 0, time.perf_counter()
    while True:
        run()
        calls += 1
        passed = time.perf_counter() - start
        if passed >= seconds:
            return calls / passed


def figure(values, unit, target=None, least=True):
    """What is known of a measured quantity: its median and its spread over the rounds.

    `target` is what the median must be at least, or at most where not `least`.
    """
    low, median, high = np.percentile(values, [25, 50, 75])
    found = {'unit': unit, 'median': float(median), 'quartiles': [float(low), float(high)],
             'values': [float(value) for value in values]}
    if target is not None:
        found.update(target=target, bound='least' if least else 'most',
                     met=bool(median >= target if least else median <= target))
    return found


def table(figures):
    """Lines of text for `figures`: {name: figure}."""
    width = max(map(len, figures))
    lines = ['%-*s %9s  %-21s %s' % (width, '', 'median', 'quartiles', 'target')]
    for name, found in figures.items():
        low, high = map(_short, found['quartiles'])
        line = '%-*s %9s  %-21s' % (width, name, _short(found['median']), '%s to %s%s' % (
            low, high, ' ' + found['unit'] if found['unit'] else ''))
        if 'target' in found:
            line += ' at %s %s: %s' % (found['bound'], _short(found['target']),
                                       'met' if found['met'] else 'NOT MET')
        if 'note' in found:
            line += ' (%s)' % found['note']
        lines.append(line.rstrip())
    return lines


def _short(value):
    return '%.0f' % value if abs(value) >= 100 else '%.3g' % value


def train(arguments, environment=()):
    """Runs train.py in a process and a log directory of its own, which is deleted.

    Call it before this process grows: Linux counts the memory of the parent at the fork as
    the child's. Raises UserError with its last line where it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, 'train.py', '--log_dir=' + folder] + arguments, cwd=ROOT,
            env=dict(os.environ, **dict(environment)), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        try:
            with process.stdout:
                output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = status
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
    if status:
        raise UserError('train.py %s failed: %s' % (
            ' '.join(arguments), (output.splitlines() or ['no output'])[-1]))
    # Linux counts it in KiB, macOS in bytes.
    return Child(output, usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024) / 1e6)


def circumstances():
    """Where, when and with what this process measures; `versions` imports TensorFlow."""
    return dict(machine(), versions=runtime.versions(), engine=runtime.installed())


def machine():
    """Where and when this process measures."""
    return {'date': runs.utc_now(), 'machine': {'cpu': _cpu(), 'cores': CORES,
            'system': platform.platform(), 'load': list(os.getloadavg())}}


def _cpu():
    try:
        with open('/proc/cpuinfo') as stream:
            for line in stream:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()

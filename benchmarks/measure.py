"""Interleaved timing, statistics, trainings in child processes, facts about the machine.

Imports no TensorFlow.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from benchmarks.runtimes import server
from permafrost import runs, runtime
from permafrost.errors import UserError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Count them before TensorFlow starts: with KMP_AFFINITY, MKL binds this thread to one core.
CORES = runtime.cores()
Measurement = Dict[str, Any]


class Child(NamedTuple):
    """A training that has ended."""
    output: str
    peak_memory: float  # resident set size in MB


class PeakMeter:
    """Times matrix products; the fastest is the machine's peak.

    `products` maps names to functions that multiply two server.SIDE x server.SIDE matrices. The
    attribute `gflops` has, for each, the GFLOP/s of each call of the meter.
    """

    def __init__(self, products: Dict[str, Callable[[], Any]], seconds: float):
        self._products, self._seconds = products, min(seconds, .4)
        self.gflops: Dict[str, List[float]] = {name: [] for name in products}

    def __call__(self) -> float:
        """Time every product, and return the GFLOP/s of the fastest."""
        for name, run in self._products.items():
            self.gflops[name].append(rate(run, self._seconds) * 2e-9 * server.SIDE ** 3)
        return max(values[-1] for values in self.gflops.values())


def interleave(candidates: Mapping[Any, Callable[[], float]], rounds: int, title: str,
               verbose: bool = True) -> Dict[Any, List[float]]:
    """Call each of `candidates`, {name: function}, once per round; return {name: [values]}.

    The order is reversed from round to round, so that a machine that slows down or speeds up
    favours no candidate. Prints a line per round: `title` and, if `verbose`, the values.
    """
    values: Dict[Any, List[float]] = {name: [] for name in candidates}
    order = list(candidates)
    for number in range(1, rounds + 1):
        for name in order:
            values[name].append(candidates[name]())
        order.reverse()
        details = ': ' + ', '.join(f'{name} {values[name][-1]:.4g}' for name in candidates)
        print(f"{title} {number}/{rounds}{details if verbose else ''}", flush=True)
    return values


def rate(run: Callable[[], Any], seconds: float, warmup: int = 2) -> float:
    """Return the calls of `run` per second, over about `seconds`, after `warmup` calls."""
    for _ in range(warmup):
        run()
    calls, start = 0, time.perf_counter()
    while True:
        run()
        calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return calls / elapsed


def measurement(values: Sequence[float], unit: str, target: Optional[float] = None,
                at_least: bool = True) -> Measurement:
    """Return the median and the spread of a quantity, and whether the median meets a target.

    The `target` is a lower bound if `at_least`, else an upper bound.
    """
    low, median, high = map(float, np.percentile(values, [25, 50, 75]))
    result = {'unit': unit, 'median': median, 'quartiles': [low, high],
              'values': [float(value) for value in values]}
    if target is not None:
        result.update(target=target, bound='least' if at_least else 'most',
                      met=median >= target if at_least else median <= target)
    return result


def table(measurements: Dict[str, Measurement]) -> List[str]:
    """Return lines of text: a row for each of `measurements`."""
    width = max(map(len, measurements))
    lines = [f"{'':{width}} {'median':>9}  {'quartiles':21} target"]
    for name, value in measurements.items():
        low, high = map(_short, value['quartiles'])
        quartiles = f"{low} to {high} {value['unit']}".rstrip()
        line = f"{name:{width}} {_short(value['median']):>9}  {quartiles:21}"
        if 'target' in value:
            met = 'met' if value['met'] else 'NOT MET'
            line += f" at {value['bound']} {_short(value['target'])}: {met}"
        if 'note' in value:
            line += f" ({value['note']})"
        lines.append(line.rstrip())
    return lines


def _short(value: float) -> str:
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'


def train(flags: Sequence[str], environment: Optional[Mapping[str, str]] = None) -> Child:
    """Run train.py in a process and a temporary log directory. Raises UserError if it fails.

    Call it before this process grows: Linux counts the memory of the parent at the fork as the
    child's.
    """
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(
            [sys.executable, 'train.py', '--log_dir=' + folder] + list(flags), cwd=ROOT,
            env=dict(os.environ, **(environment or {})), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True) as process:
        try:
            output = process.stdout.read()  # type: ignore[union-attr]
            _, process.returncode, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        last_line = (output.splitlines() or ['no output'])[-1]
        raise UserError(f"train.py {' '.join(flags)} failed: {last_line}")
    # Linux counts it in KiB, macOS in bytes.
    return Child(output, usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024) / 1e6)


def environment() -> Dict[str, Any]:
    """Return where, when and with which versions this process measures; imports TensorFlow."""
    return dict(machine(), versions=runtime.versions(), engine=runtime.installed())


def machine() -> Dict[str, Any]:
    """Return where and when this process measures."""
    return {'date': runs.utc_now(), 'machine': {
        'cpu': runtime.cpu_info('model name') or platform.processor() or platform.machine(),
        'cores': CORES, 'system': platform.platform(), 'load': list(os.getloadavg())}}

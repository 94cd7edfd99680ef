"""Interleaved timing, statistics, facts about the machine. Imports no TensorFlow."""

import os
import platform
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

import numpy as np

from permafrost import engines, machine, runs

# Count them before TensorFlow starts: with KMP_AFFINITY, MKL binds this thread to one core.
CORES = machine.cores()
Measurement = Dict[str, Any]


def interleave(candidates: Mapping[Any, Callable[[], float]], rounds: int,
               title: str) -> Dict[Any, List[float]]:
    """Call each of `candidates`, {name: function}, once per round; return {name: [values]}.

    The order is reversed from round to round, so that a machine that slows down or speeds up
    favours no candidate. Prints `title` and the number of each round.
    """
    values: Dict[Any, List[float]] = {name: [] for name in candidates}
    order = list(candidates)
    for number in range(1, rounds + 1):
        for name in order:
            values[name].append(candidates[name]())
        order.reverse()
        print(f'{title} {number}/{rounds}', flush=True)
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
                bound: str = 'least') -> Measurement:
    """Return the median and the spread of a quantity, and whether the median meets a target.

    The `bound` says whether the median must be at 'least' or at 'most' the `target`.
    """
    low, median, high = map(float, np.percentile(values, [25, 50, 75]))
    result = {'unit': unit, 'median': median, 'quartiles': [low, high],
              'values': [float(value) for value in values]}
    if target is not None:
        result.update(target=target, bound=bound,
                      met=median >= target if bound == 'least' else median <= target)
    return result


def print_table(measurements: Dict[str, Measurement]) -> None:
    """Print a row for each of `measurements`."""
    width = max(map(len, measurements))
    print(f"{'':{width}} {'median':>9}  quartiles")
    for name, value in measurements.items():
        low, median, high = (f'{number:.0f}' if number >= 100 else f'{number:.3g}' for number in (
            value['quartiles'][0], value['median'], value['quartiles'][1]))
        row = f"{name:{width}} {median:>9}  {low} to {high} {value['unit']}"
        print(row.rstrip(), flush=True)


def environment() -> Dict[str, Any]:
    """Return where, when and with which versions this process measures; imports TensorFlow."""
    return dict(machine_facts(), versions=engines.versions(), engine=engines.installed())


def machine_facts() -> Dict[str, Any]:
    """Return where and when this process measures."""
    return {'date': runs.utc_now(), 'machine': {
        'cpu': machine.cpu_info('model name') or platform.processor() or platform.machine(),
        # Processors of one name may differ in these, and so in speed by far.
        'instructions': sorted(flag for flag in machine.cpu_info('flags').split()
                               if flag.startswith(('avx', 'amx', 'fma'))),
        'cores': CORES, 'system': platform.platform(), 'load': list(os.getloadavg())}}

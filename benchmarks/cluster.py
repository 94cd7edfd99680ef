"""Training on a cluster of this host against training without one, interleaved.

All candidates run all the time; those that are not being timed are stopped by SIGSTOP.
"""

import contextlib
import signal
import tempfile
import time
from functools import partial
from typing import Any, Dict

import numpy as np

from benchmarks import measure
from benchmarks.runner import Options
from permafrost import engines
from permafrost.cluster.local_cluster import LocalCluster
from permafrost.errors import UserError

MODELS = ('tuto',)
WARMUP_SECS = 1.
START_SECS = 300.
RECIPE, BATCH_SIZE = 'tutorial', 128  # of every model
CLUSTERS = {'local': (0, 1), '1 worker': (1, 1), '2 workers': (1, 2)}  # servers, workers


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print a table, and return the result to record."""
    figures: Dict[str, measure.Measurement] = {}
    for model in options.models or MODELS:
        figures.update(_measure(model, options))
    engines.prepare()
    measure.print_table(figures)
    return dict(measure.environment(), rounds=options.rounds, seconds=options.seconds,
                dataset=options.dataset, batch_size=BATCH_SIZE, figures=figures)


def _measure(model, options):
    """Measure images/s, and their ratio to training without a cluster."""
    flags = options.train_flags(model) + [
        '--recipe=' + RECIPE, '--steps=10000000', '--log_steps=1', '--summary_steps=0',
        '--histogram_steps=0', '--save_steps=0', '--save_secs=0', '--eval_epochs=0']
    candidates = {}
    with contextlib.ExitStack() as stack:
        for name, (servers, workers) in CLUSTERS.items():
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            cluster = stack.enter_context(LocalCluster(
                servers, workers, flags + ['--log_dir=' + folder]))
            cluster.start()
            _wait_for_step(cluster, START_SECS)
            cluster.send(signal.SIGSTOP)
            candidates[name] = partial(_images_per_second, cluster, options.seconds)
        speeds = measure.interleave(candidates, options.rounds, model)
    figures = {f'{model} {name}': measure.measurement(values, 'images/s')
               for name, values in speeds.items()}
    figures.update({f'{model} {name} / local': measure.measurement(
        np.divide(speeds[name], speeds['local']), '') for name in list(CLUSTERS)[1:]})
    return figures


def _images_per_second(cluster, seconds):
    cluster.send(signal.SIGCONT)
    time.sleep(WARMUP_SECS)
    first, start = _wait_for_step(cluster)
    time.sleep(seconds)
    last, end = _wait_for_step(cluster)
    cluster.send(signal.SIGSTOP)
    return BATCH_SIZE * (last - first) / (end - start)


def _wait_for_step(cluster, timeout=60.):
    """Return the next global step that any worker logs, and its time."""
    deadline, previous = time.monotonic() + timeout, _last_step(cluster)
    while time.monotonic() < deadline:
        step = _last_step(cluster)
        if step > previous:
            return step, time.perf_counter()
        if any(task.poll() is not None for task in cluster.tasks.values()):
            break
        time.sleep(.001)
    last_lines = ' | '.join(lines[-1] for lines in cluster.lines.values() if lines)
    problem = (f'the cluster made no step in {timeout:.0f} s' if time.monotonic() >= deadline else
               'a task of the cluster ended')
    raise UserError(f'{problem}: {last_lines}')


def _last_step(cluster):
    return max([int(lines[-1].split()[1].split('/')[0]) for lines in cluster.lines.values()
                if lines and lines[-1].startswith('step ')], default=0)

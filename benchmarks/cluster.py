"""Training on a cluster of this host against training without one, interleaved.

All candidates run all the time; those that are not being timed are stopped by SIGSTOP. Also
measured: the processor time of each process per step, since servers and workers share the cores.
"""

import contextlib
import os
import signal
import tempfile
import time
from functools import partial
from typing import Any, Dict

import numpy as np

from benchmarks import graphs, measure
from benchmarks.runner import Options
from permafrost import runtime
from permafrost.cluster.local_cluster import LocalCluster
from permafrost.errors import UserError
from permafrost.recipes import overrides

MODELS = ('tuto',)
ROUNDS = 8
WARMUP_SECS = 1.
START_SECS = 300.
MIN_RATIO = .8  # of the speed without a cluster, with 1 server and 1 worker
RECIPE, BATCH_SIZE = 'tutorial', 128  # of every model
CLUSTERS = {'local': (0, 1), '1 worker': (1, 1), '2 workers': (1, 2)}  # servers, workers


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print a table, and return the result to record."""
    models, rounds = options.models or MODELS, options.rounds or ROUNDS
    figures: Dict[str, measure.Measurement] = {}
    for model in models:
        figures.update(_measure(model, options, rounds))
    runtime.prepare()
    print('\n'.join(measure.table(figures)), flush=True)
    return dict(measure.environment(), rounds=rounds, seconds=options.seconds,
                dataset=options.dataset, batch_size=BATCH_SIZE, figures=figures,
                variable_bytes={model: variable_bytes(model) for model in models})


def variable_bytes(model: str) -> int:
    """Return the bytes of the trained variables of `model`.

    A step brings as many from the servers and, as gradients, as many back.
    """
    shapes = graphs.trained_shapes(model, overrides.get_recipe(RECIPE))
    return 4 * sum(shape.num_elements() for shape in shapes)


def _measure(model, options, rounds):
    """Measure images/s, their ratio to training without a cluster, and processor time per step."""
    flags = options.train_flags(model) + [
        '--recipe=' + RECIPE, '--steps=10000000', '--log_steps=1', '--summary_steps=0',
        '--histogram_steps=0', '--save_steps=0', '--save_secs=0']
    clusters, task_seconds = {}, {name: [] for name in CLUSTERS}

    def images_per_second(name):
        return BATCH_SIZE * _steps_per_second(clusters[name], options.seconds, task_seconds[name])

    with contextlib.ExitStack() as stack:
        for name, (servers, workers) in CLUSTERS.items():
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            clusters[name] = stack.enter_context(LocalCluster(
                servers, workers, flags + ['--log_dir=' + folder], use_tf_config=True))
            clusters[name].start()
            _wait_for_step(clusters[name], START_SECS)
            clusters[name].send(signal.SIGSTOP)
        speeds = measure.interleave(
            {name: partial(images_per_second, name) for name in CLUSTERS}, rounds, model)
    figures = {f'{model} {name}': measure.measurement(values, 'images/s')
               for name, values in speeds.items()}
    for name in list(CLUSTERS)[1:]:
        figures[f'{model} {name} / local'] = measure.measurement(
            np.divide(speeds[name], speeds['local']), '',
            MIN_RATIO if name == '1 worker' else None)
    for name, rows in task_seconds.items():
        for task in rows[0]:
            figures[f'{model} {name}: {task}'] = measure.measurement(
                [1000 * row[task] for row in rows], 'ms of processor a step')
    return figures


def _steps_per_second(cluster, seconds, task_seconds):
    """Return the global steps per second; append {task: processor seconds per step}."""
    cluster.send(signal.SIGCONT)
    time.sleep(WARMUP_SECS)
    first, start = _wait_for_step(cluster)
    before = {name: _processor_seconds(task.pid) for name, task in cluster.tasks.items()}
    time.sleep(seconds)
    last, end = _wait_for_step(cluster)
    task_seconds.append({name: (_processor_seconds(task.pid) - before[name]) / (last - first)
                         for name, task in cluster.tasks.items()})
    cluster.send(signal.SIGSTOP)
    return (last - first) / (end - start)


def _wait_for_step(cluster, timeout=60.):
    """Return the next global step that any worker logs, and its time."""
    deadline, previous = time.time() + timeout, _last_step(cluster)
    while time.time() < deadline:
        step = _last_step(cluster)
        if step > previous:
            return step, time.perf_counter()
        if any(task.poll() is not None for task in cluster.tasks.values()):
            break
        time.sleep(.001)
    last_lines = ' | '.join(lines[-1] for lines in cluster.lines.values())
    raise UserError(f'the cluster made no step in {timeout:.0f} s: {last_lines}')


def _last_step(cluster):
    return max([int(lines[-1].split()[1].split('/')[0]) for lines in cluster.lines.values()
                if lines[-1].startswith('step ')], default=0)


def _processor_seconds(pid):
    """Return the processor time that a process has used so far."""
    with open(f'/proc/{pid}/stat') as stream:
        fields = stream.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

"""Training on a cluster of this host against training without one, in turn.

All of them run all the time; who is not being timed is stopped by SIGSTOP. Beside the speed, the
processor time that a step takes in each process: on one host the servers' is taken from the
workers.
"""

import contextlib
import os
import signal
import tempfile
import time

from benchmarks import measure
from permafrost import runtime
from permafrost.cluster import local_cluster
from permafrost.errors import UserError

MODELS = ('tuto',)
ROUNDS = 8
SETTLE_SECS = 1.
START_SECS = 300.
LEAST = .8  # of the speed without a cluster, with 1 server and 1 worker
RECIPE = 'tutorial'  # of every model: batches of 128
CLUSTERS = {'local': (0, 1), '1 worker': (1, 1), '2 workers': (1, 2)}


def benchmark(options):
    """Measures, prints a table, returns what to record."""
    figures, bytes_of = {}, {}
    rounds = options.rounds or ROUNDS
    for model in options.models or MODELS:
        figures.update(_model(model, options, rounds))
    runtime.prepare()
    for model in options.models or MODELS:
        bytes_of[model] = variable_bytes(model)
    print('\n'.join(measure.table(figures)), flush=True)
    return dict(measure.circumstances(), rounds=rounds, seconds=options.seconds,
                dataset=options.dataset, batch_size=128, variable_bytes=bytes_of,
                figures=figures)


def variable_bytes(model):
    """Bytes of the trained variables of `model`: what a step brings from the servers, and, as
    gradients, back to them. From the training graph itself."""
    import tensorflow.compat.v1 as tf
    from permafrost.recipes import overrides
    from permafrost.training import graph
    from permafrost.config import Config
    recipe = overrides.get_recipe(RECIPE)
    with tf.Graph().as_default():
        size = recipe.image_size
        graph.build_train_graph(Config(model, recipe, 1), 10, tf.zeros([2, size, size, 3]),
                                tf.zeros([2], tf.int64))
        return sum(v.shape.num_elements() * v.dtype.size for v in tf.trainable_variables())


def _model(model, options, rounds):
    """Figures of training `model`: images/s, the ratio, seconds of processor time a step."""
    arguments = ['--model=' + model, '--recipe=' + RECIPE, '--data_set=' + options.dataset,
                 '--steps=%d' % 10 ** 7, '--log_steps=1', '--summary_steps=0',
                 '--histogram_steps=0', '--save_steps=0', '--save_secs=0']
    arguments += ['--data_dir=' + options.data_dir] if options.data_dir else []
    costs = {}
    with contextlib.ExitStack() as stack:
        clusters = {}
        for name, (servers, workers) in CLUSTERS.items():
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            clusters[name] = cluster = stack.enter_context(local_cluster.LocalCluster(
                servers, workers, arguments + ['--log_dir=' + folder]))
            cluster.by_tf_config = True
            cluster.start()
            _next_step(cluster, START_SECS)
            cluster.send(signal.SIGSTOP)
        speeds = measure.in_turn(
            {name: lambda name=name: 128 * _rate(clusters[name], options.seconds,
                                                 costs.setdefault(name, []))
             for name in CLUSTERS}, rounds, lambda text: print(model + ' ' + text, flush=True))
    figures = {'%s %s' % (model, name): measure.figure(values, 'images/s')
               for name, values in speeds.items()}
    for name in list(CLUSTERS)[1:]:
        ratios = [a / b for a, b in zip(speeds[name], speeds['local'])]
        figures['%s %s / local' % (model, name)] = measure.figure(
            ratios, '', LEAST if name == '1 worker' else None)
    for name, values in costs.items():
        for task in values[0]:
            figures['%s %s: %s' % (model, name, task)] = measure.figure(
                [1000 * value[task] for value in values], 'ms of processor a step')
    return figures


def _rate(cluster, seconds, costs):
    """Global steps a second, over about `seconds`; appends {task: processor seconds a step}."""
    cluster.send(signal.SIGCONT)
    time.sleep(SETTLE_SECS)
    first, start = _next_step(cluster)
    before = {name: _processor(task.pid) for name, task in cluster.tasks.items()}
    time.sleep(seconds)
    last, end = _next_step(cluster)
    costs.append({name: (_processor(task.pid) - before[name]) / (last - first)
                  for name, task in cluster.tasks.items()})
    cluster.send(signal.SIGSTOP)
    return (last - first) / (end - start)


def _next_step(cluster, limit=60.):
    """(global step, time) of the next step that any worker logs."""
    until, seen = time.time() + limit, _last_step(cluster)
    while time.time() < until:
        step = _last_step(cluster)
        if step > seen:
            return step, time.perf_counter()
        if any(task.poll() is not None for task in cluster.tasks.values()):
            break
        time.sleep(.001)
    raise UserError('no step of the cluster in %d s: %s' % (
        limit, ' | '.join(lines[-1] for lines in cluster.lines.values())))


def _last_step(cluster):
    return max([int(lines[-1].split()[1].split('/')[0]) for lines in cluster.lines.values()
                if lines[-1].startswith('step ')], default=0)


def _processor(pid):
    """Seconds of processor time that a process has taken."""
    with open('/proc/%d/stat' % pid) as stream:
        fields = stream.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

"""The speed of large clusters, by simulation; nothing is measured. See docs/scaling.md.

Each machine has one server or one worker. The servers share the variables evenly, and the workers
share the servers' links fairly, each up to the speed of its own link.
"""

import math

import numpy as np

from benchmarks import cluster
from benchmarks.runner import Options
from permafrost import engines
from permafrost.config import Config
from permafrost.recipes import overrides

MODELS = ('tuto', 'alex4', 'squeeze1', 'nin2')
WORKERS = (4, 16, 64, 256)
LINK = 10e9 / 8  # bytes/s of each machine, in each direction
COMPUTE = cluster.BATCH_SIZE / 1000  # seconds a step, at 1000 images/s
EFFICIENCY = .9  # that servers_needed reaches, of what the workers could do alone


def benchmark(options: Options) -> None:
    """Print how many servers each number of workers needs, and the speed that they reach."""
    engines.prepare()
    print(f"{'model':10} {'bytes':>10} {'workers':>8} {'servers':>8} {'images/s':>12} "
          f"{'one server':>12}")
    for model in options.models or MODELS:
        size = variable_bytes(model)
        for workers in WORKERS:
            servers = servers_needed(workers, size, COMPUTE, LINK)
            speed, with_one = (cluster.BATCH_SIZE * step_rate(workers, count, size, COMPUTE, LINK)
                               for count in (servers, 1))
            print(f'{model:10} {size:10} {workers:8} {servers:8} {speed:12.0f} {with_one:12.0f}',
                  flush=True)


def variable_bytes(model: str) -> int:
    """Return the bytes of the trained variables of `model`.

    A step brings as many from the servers and, as gradients, as many back.
    """
    import tensorflow.compat.v1 as tf

    from permafrost.training.graph import build_train_graph
    recipe = overrides.get_recipe(cluster.RECIPE)
    with tf.Graph().as_default():
        build_train_graph(Config(model, recipe, 1), 10,
                          tf.zeros([2, recipe.image_size, recipe.image_size, 3]),
                          tf.zeros([2], tf.int64))
        return 4 * sum(variable.shape.num_elements() for variable in tf.trainable_variables())


def servers_needed(workers: int, size: float, compute: float, link: float) -> int:
    """Return the fewest servers with which `workers` reach EFFICIENCY; see step_rate."""
    target = EFFICIENCY * workers / (compute + 2 * size / link)
    servers = max(1, math.floor(target * size / link))
    while step_rate(workers, servers, size, compute, link) < target:
        servers += 1
    return servers


def step_rate(workers: int, servers: int, size: float, compute: float, link: float) -> float:
    """Return the steps per second of all workers together.

    In each step a worker pulls `size` bytes, computes for `compute` seconds and pushes `size`
    bytes. `link` is in bytes/s.
    """
    amounts = np.array([size, compute, size])
    phases = np.zeros(workers, int)  # indices of `amounts`
    # Start the workers at different times, as in a real cluster.
    remaining = size * (1 + np.arange(workers) / workers)
    total = max(12, 1000 // workers) * workers
    time, steps, start_time, start_steps = 0., 0, 0., 0
    while steps < total:
        pulling, _, pushing = np.maximum(1, np.bincount(phases, minlength=3))
        rates = np.array([min(link, servers * link / pulling), 1.,
                          min(link, servers * link / pushing)])[phases]
        elapsed = (remaining / rates).min()
        time += elapsed
        remaining -= elapsed * rates
        ended = remaining <= 1e-9 * amounts[phases]
        phases[ended] = (phases[ended] + 1) % 3
        remaining[ended] = amounts[phases[ended]]
        steps += np.count_nonzero(phases[ended] == 0)
        if not start_steps and steps >= total / 5:  # the first fifth does not count
            start_time, start_steps = time, steps
    return (steps - start_steps) / (time - start_time)

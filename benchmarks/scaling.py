"""The speed of clusters, by simulation: workers that share links, servers and processors.

A step is a list of phases, one after the other; a phase uses an amount of one resource. Those who
use a resource at the same time share it fairly, each up to the phase's own limit.
"""

import math
import re
import resource as system_resource
import time
from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

from benchmarks import cluster, graphs
from benchmarks.runner import Options
from permafrost import files, runtime
from permafrost.cluster import local_cluster
from permafrost.errors import UsageError
from permafrost.recipes import overrides

MODELS = ('tuto', 'alex4', 'squeeze1', 'nin2')
EFFICIENCY = .9  # that servers_needed reaches, of what the workers could do alone


class Phase(NamedTuple):
    """A part of a step."""
    resource: str
    amount: float  # bytes, or seconds of one core
    limit: float  # most that one worker can use of it: bytes/s, or cores


class Cost(NamedTuple):
    """The cost of a part of a step, for one worker alone."""
    seconds: float
    processor_seconds: float


def benchmark(options: Options) -> None:
    """Print the servers that clusters need, or predictions next to measurements (--check)."""
    if options.check:
        _check(options.check)
    else:
        _plan(options)


def _plan(options: Options) -> None:
    """Print how many servers each number of workers needs, and the speed that they reach."""
    if not all(re.match(r'[1-9]\d{0,8}$', count) for count in options.workers):
        raise UsageError('--workers needs numbers of workers, such as 4,16, not '
                         + ','.join(options.workers))
    runtime.prepare()
    link = options.link_gbits * 1e9 / 8
    compute = cluster.BATCH_SIZE / options.images_per_second
    print(f"{'model':10} {'bytes':>10} {'workers':>8} {'servers':>8} {'images/s':>12} "
          f"{'one server':>12}")
    for model in options.models or MODELS:
        size = cluster.variable_bytes(model)
        for workers in map(int, options.workers):
            servers = servers_needed(workers, size, compute, link)
            speed, with_one = (
                cluster.BATCH_SIZE * rate_on_network(workers, count, size, compute, link)
                for count in (servers, 1))
            print(f'{model:10} {size:10} {workers:8} {servers:8} {speed:12.0f} {with_one:12.0f}',
                  flush=True)


def _check(path: str) -> None:
    """Predict 1 and 2 workers from training without a cluster and from the transport alone."""
    result = files.read_json(path, {})
    if 'variable_bytes' not in result:
        raise UsageError(f'{path} is not a result of the benchmark cluster')
    session_config = runtime.prepare()
    batch_size = result['batch_size']
    medians = {name: value['median'] for name, value in result['figures'].items()}
    for model in result['variable_bytes']:
        local = Cost(batch_size / medians[model + ' local'],
                     medians[model + ' local: worker 0'] / 1000)
        pull, push = _transport_costs(model, session_config)
        print(f'{model}: ' + ', '.join(
            f'{name} {1000 * cost.seconds:.1f} ms (processor {1000 * cost.processor_seconds:.1f})'
            for name, cost in (('step', local), ('pull', pull), ('push', push))))
        for workers, name in ((1, model + ' 1 worker'), (2, model + ' 2 workers')):
            speed = batch_size * rate_on_host(workers, result['machine']['cores'], local, pull,
                                              push)
            error = 100 * (speed / medians[name] - 1)
            print(f'{name}: predicted {speed:.0f} images/s, measured {medians[name]:.0f} '
                  f'({error:+.0f} %)')


def _transport_costs(model: str, session_config: Any) -> List[Cost]:
    """Return the costs of pulling the variables of `model`, and of pushing their gradients.

    Both are between two servers of this process, through the loopback interface.
    """
    import tensorflow.compat.v1 as tf
    shapes = graphs.trained_shapes(model, overrides.get_recipe(cluster.RECIPE))
    hosts = [f'127.0.0.1:{port}' for port in local_cluster.free_ports(2)]
    spec = tf.train.ClusterSpec({'ps': hosts[:1], 'worker': hosts[1:]})
    servers = [tf.train.Server(spec, job, 0, config=session_config) for job in ('ps', 'worker')]
    with tf.Graph().as_default():
        with tf.device('/job:ps/cpu:0'):
            variables = [tf.get_variable(f'v{i}', shape) for i, shape in enumerate(shapes)]
        with tf.device('/job:worker/cpu:0'):
            pull = tf.group([tf.identity(variable.value()) for variable in variables])
            gradients = [tf.get_variable(f'g{i}', shape) for i, shape in enumerate(shapes)]
        optimizer = tf.train.GradientDescentOptimizer(.1)
        averages = tf.train.ExponentialMovingAverage(.9999)
        with tf.control_dependencies([optimizer.apply_gradients(
                [(gradient.value(), v) for gradient, v in zip(gradients, variables)])]):
            push = averages.apply(variables)
        with tf.Session(servers[1].target, config=session_config) as session:
            session.run(tf.global_variables_initializer())
            return [_measure_cost(partial(session.run, fetch)) for fetch in (pull, push)]


def _measure_cost(run: Callable[[], Any], seconds: float = 4.) -> Cost:
    for _ in range(20):
        run()
    calls, start, before = 0, time.perf_counter(), _processor_seconds()
    while time.perf_counter() - start < seconds:
        run()
        calls += 1
    return Cost((time.perf_counter() - start) / calls, (_processor_seconds() - before) / calls)


def _processor_seconds() -> float:
    usage = system_resource.getrusage(system_resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def servers_needed(workers: int, size: float, compute: float, link: float) -> int:
    """Return the fewest servers with which `workers` reach EFFICIENCY; see rate_on_network."""
    target = EFFICIENCY * workers / (compute + 2 * size / link)
    servers = max(1, math.floor(target * size / link))
    while rate_on_network(workers, servers, size, compute, link) < target:
        servers += 1
    return servers


def rate_on_network(workers: int, servers: int, size: float, compute: float,
                    link: float) -> float:
    """Return the steps per second of `workers` and `servers`, each on a machine of its own.

    Args:
      size: bytes of the variables; each step pulls them, and pushes as many bytes of gradients.
      compute: seconds that a worker computes per step.
      link: bytes/s of each machine's link, in each direction.
    """
    phases = [[Phase('out', size, link), Phase(f'processor {i}', compute, 1.),
               Phase('in', size, link)] for i in range(workers)]
    capacity = {f'processor {i}': 1. for i in range(workers)}
    capacity.update({'out': servers * link, 'in': servers * link})
    return step_rate(phases, capacity, max(12, 1000 // workers))


def rate_on_host(workers: int, cores: int, compute: Cost, pull: Cost, push: Cost) -> float:
    """Return the steps per second of `workers` that share a host with their servers."""
    phases = [Phase('processor', cost.processor_seconds, cost.processor_seconds / cost.seconds)
              for cost in (pull, compute, push)]
    return step_rate([phases] * workers, {'processor': cores})


def step_rate(workers: Sequence[Sequence[Phase]], capacity: Dict[str, float],
              steps: int = 200) -> float:
    """Return the steps per second of all `workers`, each with a list of phases, together.

    `capacity` is {resource: bytes/s or cores}. The first fifth of the `steps` does not count.
    """
    now, done, total = 0., 0, steps * len(workers)
    start_time, start_done = 0., 0
    indices, rates = [0] * len(workers), [0.] * len(workers)
    phases = [worker[0] for worker in workers]
    # Start the workers at different times, as in a real cluster.
    remaining = [phase.amount * (1 + i / len(workers)) for i, phase in enumerate(phases)]
    users: Dict[str, List[int]] = {}
    for i, phase in enumerate(phases):
        users.setdefault(phase.resource, []).append(i)
    changed = set(users)
    while done < total:
        for resource in changed:
            _share(users[resource], phases, capacity[resource], rates)
        elapsed = min(amount / rate for amount, rate in zip(remaining, rates))
        now += elapsed
        remaining = [amount - rate * elapsed for amount, rate in zip(remaining, rates)]
        changed = set()
        for i, amount in enumerate(remaining):
            if amount <= 1e-9 * phases[i].amount:
                users[phases[i].resource].remove(i)
                changed.add(phases[i].resource)
                indices[i] = (indices[i] + 1) % len(workers[i])
                phases[i] = workers[i][indices[i]]
                users.setdefault(phases[i].resource, []).append(i)
                changed.add(phases[i].resource)
                remaining[i] = phases[i].amount
                done += indices[i] == 0
        if not start_done and done >= total / 5:
            start_time, start_done = now, done
    return (done - start_done) / (now - start_time)


def _share(users: Sequence[int], phases: Sequence[Phase], capacity: float,
           rates: List[float]) -> None:
    """Share a resource among `users` by max-min fairness: set their `rates`."""
    for n, i in enumerate(sorted(users, key=lambda i: phases[i].limit)):
        rates[i] = min(phases[i].limit, capacity / (len(users) - n))
        capacity -= rates[i]

"""How fast a cluster is, by simulation: workers that share links, servers and processors.

A step is a list of phases, one after the other; a phase takes an amount of one resource. Who uses
a resource at a time shares it fairly, each up to the phase's own limit. Nothing here imports
TensorFlow.
"""

import math
from typing import Dict, List, NamedTuple


class Phase(NamedTuple):
    """A part of a step."""
    resource: str
    amount: float  # bytes, or seconds of one core
    limit: float  # most of it a second that one worker can use: bytes/s, or cores


def step_rate(workers: List[List[Phase]], capacity: Dict[str, float], steps=200) -> float:
    """Steps a second of all `workers` together, each with its own list of phases.

    `capacity` is {resource: bytes/s or cores}; the first fifth of the `steps` does not count.
    """
    now, done, since = 0., 0, None
    running = [phases[0] for phases in workers]
    at, rates = [0] * len(workers), [0.] * len(workers)
    # Starts are spread, as those of a real cluster are.
    left = [phase.amount * (1 + i / len(workers)) for i, phase in enumerate(running)]
    users = {}
    for i, phase in enumerate(running):
        users.setdefault(phase.resource, []).append(i)
    changed, total = set(users), steps * len(workers)
    while done < total:
        for resource in changed:
            _share(users[resource], running, capacity[resource], rates)
        passed = min(amount / rate for amount, rate in zip(left, rates))
        now += passed
        left = [amount - rate * passed for amount, rate in zip(left, rates)]
        changed = set()
        for i, amount in enumerate(left):
            if amount <= 1e-9 * running[i].amount:
                users[running[i].resource].remove(i)
                changed.add(running[i].resource)
                at[i] = (at[i] + 1) % len(workers[i])
                running[i] = workers[i][at[i]]
                users.setdefault(running[i].resource, []).append(i)
                changed.add(running[i].resource)
                left[i] = running[i].amount
                done += at[i] == 0
        if since is None and done >= total / 5:
            since = now, done
    return (done - since[1]) / (now - since[0])


def _share(users, running, capacity, rates):
    """Sets what each of `users` gets of a resource in `rates`, by max-min fairness."""
    for n, i in enumerate(sorted(users, key=lambda i: running[i].limit)):
        rates[i] = min(running[i].limit, capacity / (len(users) - n))
        capacity -= rates[i]


def on_one_host(workers, cores, compute, pull, push):
    """Steps a second of `workers` that share a host with their servers.

    `compute`, `pull` and `push` are (seconds, seconds of processor) of one worker alone.
    """
    phases = [Phase('processor', work, work / seconds) for seconds, work in (pull, compute, push)]
    return step_rate([phases] * workers, {'processor': cores})


def on_many(workers, servers, size, compute, link):
    """Steps a second of `workers` and `servers`, a machine each.

    Args:
      size: bytes of the variables; each step brings them, and takes as many of gradients.
      compute: seconds that a worker calculates, alone.
      link: bytes/s of each machine's link, in each direction.
    """
    phases = [[Phase('out', size, link), Phase('processor %d' % i, compute, 1.),
               Phase('in', size, link)] for i in range(workers)]
    capacity = dict({'processor %d' % i: 1. for i in range(workers)},
                    out=servers * link, **{'in': servers * link})
    return step_rate(phases, capacity, max(12, 1000 // workers))


def servers_needed(workers, size, compute, link, share=.9):
    """The fewest servers with which `workers` make `share` of the steps that they could make
    alone; see on_many."""
    alone = 1 / (compute + 2 * size / link)
    servers = max(1, math.floor(workers * size * alone * share / link))
    while on_many(workers, servers, size, compute, link) < share * workers * alone:
        servers += 1
    return servers

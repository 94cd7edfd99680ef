"""Clusters of real processes for tests: their arguments, and what their tasks print."""

import re
import time

from permafrost.cluster import local_cluster

# At a learning rate of 0.1, batches this small diverge after some hundred steps.
FLAGS = ('--model=squeeze1', '--dataset=synthetic', '--set=batch_size=16',
         '--set=learning_rate=0.001', '--summary_steps=0', '--histogram_steps=0', '--log_steps=1',
         '--wait_secs=60')
TIMEOUT = 240  # seconds after which a cluster is taken to hang


def make_cluster(dataset, run, *arguments, workers=2, **options):
    """Return a LocalCluster of one server whose tasks train on `dataset` in the directory `run`."""
    arguments = (*FLAGS, f'--data_dir={dataset.directory}', f'--run={run}', *arguments)
    return local_cluster.LocalCluster(1, workers, arguments, **options)


def output(cluster):
    """Return all lines of all tasks, for messages of failed assertions."""
    return '\n'.join(f'{name}: {line}' for name, lines in cluster.lines.items() for line in lines)


def wait_for_line(cluster, name, pattern, after=0):
    """Return the first line of task `name` that matches `pattern`, from line number `after` on."""
    deadline = time.time() + TIMEOUT
    while time.time() < deadline:
        ended = cluster.tasks[name].poll() is not None
        if ended:
            cluster.wait(name)  # until its last lines are read
        for line in cluster.lines.get(name, [])[after:]:
            if re.search(pattern, line):
                return line
        if ended:
            break
        time.sleep(.05)
    raise AssertionError(f'{name} did not print {pattern!r}:\n{output(cluster)}')


def assert_ends_well(cluster, timeout=TIMEOUT):
    """Wait for all tasks to end, with exit code 0 and no stack trace."""
    codes = cluster.wait(timeout=timeout)
    assert not any(codes.values()), f'{codes}\n{output(cluster)}'
    assert 'Traceback' not in output(cluster), output(cluster)

"""Clusters for tests: of real processes, and of servers in the test's own process."""

import contextlib
import re
import socket
import subprocess
import threading
import time

from permafrost.cluster import local_cluster
from permafrost.cluster.cluster_spec import ClusterSpec, Task

# A small model, because every task builds its graph. At a learning rate of 0.1, batches this
# small diverge after some hundred steps.
FLAGS = ('--model=lenet5', '--dataset=synthetic', '--set=batch_size=16',
         '--set=learning_rate=0.001', '--summary_steps=0', '--histogram_steps=0', '--log_steps=1',
         '--wait_secs=150', '--eval_epochs=0')
TIMEOUT = 240  # seconds after which a cluster is taken to hang
END_SECS = 120  # for servers and the evaluator, once all workers have ended; they take a few


def make_cluster(dataset, run, *arguments, workers=2, servers=1, **options):
    """Return a LocalCluster whose tasks train on `dataset` in the directory `run`."""
    arguments = (*FLAGS, f'--data_dir={dataset.directory}', f'--run={run}', *arguments)
    return local_cluster.LocalCluster(servers, workers, arguments, **options)


@contextlib.contextmanager
def listening():
    """Context that yields the address of a task that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        server.listen(1024)
        yield f'127.0.0.1:{server.getsockname()[1]}'


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
    """Wait for all tasks to end, the workers first, with exit code 0 and no stack trace."""
    cluster.wait(*(name for name in cluster.tasks if name.startswith('worker')), timeout=timeout)
    try:
        codes = cluster.wait(timeout=END_SECS)
    except subprocess.TimeoutExpired:
        raise AssertionError(output(cluster))
    assert not any(codes.values()), f'{codes}\n{output(cluster)}'
    assert 'Traceback' not in output(cluster), output(cluster)


def free_spec(servers, workers):
    """Return the ClusterSpec of a cluster on free ports of this host."""
    hosts = [f'127.0.0.1:{port}' for port in local_cluster.free_ports(servers + workers)]
    return ClusterSpec(tuple(hosts[:servers]), tuple(hosts[servers:]))


@contextlib.contextmanager
def serving(spec):
    """Context with the Publishers of all parameter servers of `spec`, which run in this process."""
    import tensorflow.compat.v1 as tf

    from permafrost.cluster.servers.parameter_server import Publisher

    class LockedPublisher(Publisher):
        """One that a test and the thread that polls may both use."""
        lock = threading.RLock()

        def poll(self):
            with self.lock:
                return super().poll()

        def restart(self):
            """Read the messages of the test before, too."""
            with self.lock:
                if hasattr(self, 'state'):
                    super().poll()
                super().restart()

    config, publishers, servers = tf.ConfigProto(), [], []
    for index in range(len(spec.ps)):
        servers.append(tf.train.Server(
            {'ps': list(spec.ps), 'worker': list(spec.workers)}, 'ps', index, config=config))
        publishers.append(LockedPublisher(servers[-1].target, spec, Task('ps', index), config))
    stopped = threading.Event()

    def poll():
        while not stopped.wait(.02):
            for publisher in publishers:
                publisher.poll()

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield publishers
    finally:
        stopped.set()
        thread.join()


def wait_until_ready(servers):
    """Wait until each of `servers`, a client.Servers, has published that it is ready."""
    while not all(state and state.ready for state in servers.states()):
        time.sleep(.01)

"""A cluster whose tasks are all processes of this host: for trials, tests and measurements."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STOP_SECS = 30.  # for a task to save and end


def free_ports(count):
    """Ports of the loopback interface that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(('127.0.0.1', 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class LocalCluster:
    """Starts, restarts and stops the tasks of a cluster. A context manager: no process stays.

    Args:
      servers, workers: numbers of them.
      arguments: of train_cluster.py, for every task.
      show: called with each line of output, 'worker 0: ...'; the thread that reads it calls.
      environment: {variable: value} besides this process's.
      directory: where tasks run; default: the repository.
      hosts: {name: 'host:port'}; default: free ports of the loopback interface.
      within: from a task's name to the beginning of its command line.
    Attributes:
      directory: as given; where tasks started from now on run.
      by_tf_config: whether they learn of their place by TF_CONFIG, not by flags.
      tasks: {name, such as 'ps 0': subprocess.Popen} of those started last.
      lines: {name: [lines]} of all that each has printed.
    """

    def __init__(self, servers, workers, arguments, show=lambda line: None, environment=(),
                 directory=ROOT, hosts=None, within=lambda name: []):
        self.names = (['ps %d' % i for i in range(servers)]
                      + ['worker %d' % i for i in range(workers)])
        self.hosts = hosts or {name: '127.0.0.1:%d' % port for name, port in zip(
            self.names, free_ports(servers + workers))}
        self._within = within
        self.directory = directory
        self.by_tf_config = False
        self._arguments = list(arguments)
        self._show = show
        self._environment = dict(os.environ, **dict(environment))
        self.tasks = {}
        self.lines = {}
        self._readers = {}

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop(signal.SIGKILL)

    def start(self, *names, more=()):
        """Starts tasks by name, all by default; `more` are further arguments."""
        for name in names or self.names:
            flags, environment = self._place(name)
            process = subprocess.Popen(
                self._within(name) + [sys.executable, os.path.join(ROOT, 'train_cluster.py')]
                + flags + self._arguments + list(more), cwd=self.directory,
                env=dict(self._environment, **environment), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                start_new_session=True)  # Ctrl-C comes to this process alone
            self.tasks[name] = process
            self._readers[name] = threading.Thread(
                target=self._read, args=(name, process), daemon=True)
            self._readers[name].start()

    def _place(self, name):
        """(flags, environment) that tell task `name` of its place."""
        job, _, index = name.partition(' ')
        jobs = {kind: [host for task, host in self.hosts.items() if task.startswith(kind)]
                for kind in ('ps', 'worker')}
        if self.by_tf_config:
            return [], {'TF_CONFIG': json.dumps(
                {'cluster': jobs, 'task': {'type': job, 'index': index}})}
        return ['--ps_hosts=' + ','.join(jobs['ps']), '--worker_hosts=' + ','.join(jobs['worker']),
                '--job_name=' + job, '--task_index=' + (index or '0')], {}

    def reading(self, name):
        """Whether there may be lines of task `name` still to come."""
        return self._readers[name].is_alive()

    def _read(self, name, process):
        with process.stdout:
            for line in process.stdout:
                line = line.rstrip('\n')
                self.lines.setdefault(name, []).append(line)
                self._show('%s: %s' % (name, line))

    def wait(self, *names, timeout=None):
        """{name: exit code} of the tasks, all by default, when they have ended."""
        codes = {name: self.tasks[name].wait(timeout) for name in names or list(self.tasks)}
        for reader in self._readers.values():
            reader.join(1.)
        return codes

    def send(self, number, *names):
        """Sends a signal to those tasks, all by default, that still run."""
        for name in names or list(self.tasks):
            if self.tasks[name].poll() is None:
                self.tasks[name].send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """Ends all: the chief first, which saves while its servers serve. {name: exit code}."""
        for name in sorted(self.tasks, key=lambda name: (name != 'worker 0', name)):
            process = self.tasks[name]
            self.send(number, name)
            try:
                process.wait(STOP_SECS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return self.wait()


def run(servers, workers, evaluator, arguments):
    """What tools/local_cluster.py does: runs a cluster to its end, its logs merged.

    Ends all when a task fails or a signal comes. Returns the exit code: of the first task that
    failed, or of the chief; 128 and its number after a signal, unless the chief could not save.
    """
    show = threading.Lock()

    def print_line(line):
        with show:
            print(line, flush=True)

    signals, failed = [], []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: signals.append(number))
    with LocalCluster(servers, workers, arguments, print_line, directory=os.getcwd()) as cluster:
        cluster.start(*cluster.names + ['evaluator'] * evaluator)
        while not signals:
            codes = [task.poll() for task in cluster.tasks.values()]
            failed = [code for code in codes if code]
            if failed or None not in codes:
                break
            time.sleep(.2)
        ended = cluster.stop()
    # Of SIGTERM itself the chief ends where it has not begun yet, and has nothing to save.
    if signals and ended['worker 0'] in (0, 130, 143, -signal.SIGTERM):
        return 128 + signals[0]
    code = failed[0] if failed else ended['worker 0']
    return code if code >= 0 else 1  # killed: by whom is not known

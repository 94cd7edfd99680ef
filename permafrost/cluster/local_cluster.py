"""A cluster whose tasks are processes of this host: for trials, tests and measurements."""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence

from permafrost.flags import explicitly_set

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STOP_SECS = 30.  # for a task to save and end


def free_ports(count: int) -> List[int]:
    """Return ports of the loopback interface on which nobody listens now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(('127.0.0.1', 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclasses.dataclass(eq=False)
class LocalCluster:
    """Starts, restarts and stops the tasks of a cluster; as a context, it leaves no process behind.

    Other attributes:
      names: of the tasks: 'ps 0', ..., 'worker 0', ...
      tasks: {name: the process started last}.
      lines: {name: all lines that the task has printed}.
    """
    servers: int  # number of parameter servers
    workers: int  # number of workers
    arguments: Sequence[str]  # of train_cluster.py, for every task
    on_line: Callable[[str], None] = lambda line: None  # called with each line, 'worker 0: ...'
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)  # more variables
    directory: str = ROOT  # working directory of the tasks started next
    hosts: Dict[str, str] = dataclasses.field(default_factory=dict)  # {name: 'host:port'}
    command_prefix: Callable[[str], List[str]] = lambda name: []  # of the command line of a task
    use_tf_config: bool = False  # describe the cluster by TF_CONFIG instead of flags

    def __post_init__(self) -> None:
        self.names = [f'ps {i}' for i in range(self.servers)]
        self.names += [f'worker {i}' for i in range(self.workers)]
        if not self.hosts:
            ports = free_ports(len(self.names))
            self.hosts = {name: f'127.0.0.1:{port}' for name, port in zip(self.names, ports)}
        self.tasks: Dict[str, subprocess.Popen] = {}
        self.lines: Dict[str, List[str]] = {}
        self._readers: Dict[str, threading.Thread] = {}

    def __enter__(self) -> 'LocalCluster':
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop(signal.SIGKILL)

    def start(self, *names: str, extra_arguments: Iterable[str] = ()) -> None:
        """Start tasks, all by default, with `extra_arguments` after the others."""
        for name in names or self.names:
            job, _, index = name.partition(' ')
            jobs = {kind: [host for task, host in self.hosts.items() if task.startswith(kind)]
                    for kind in ('ps', 'worker')}
            environment, flags = dict(os.environ, **self.environment), []
            if self.use_tf_config:
                environment['TF_CONFIG'] = json.dumps(
                    {'cluster': jobs, 'task': {'type': job, 'index': index}})
            else:
                flags = [f'--{kind}_hosts={",".join(hosts)}' for kind, hosts in jobs.items()]
                flags += [f'--job_name={job}', f'--task_index={index or 0}']
            command = [*self.command_prefix(name), sys.executable,
                       os.path.join(ROOT, 'train_cluster.py'), *flags, *self.arguments]
            self.tasks[name] = subprocess.Popen(
                command + list(extra_arguments), cwd=self.directory, env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                universal_newlines=True, start_new_session=True)  # Ctrl-C must not reach them
            self._readers[name] = threading.Thread(
                target=self._read, args=(name, self.tasks[name]), daemon=True)
            self._readers[name].start()

    def _read(self, name: str, process: subprocess.Popen) -> None:
        with process.stdout:
            for line in process.stdout:
                self.lines.setdefault(name, []).append(line.rstrip('\n'))
                self.on_line(f'{name}: {self.lines[name][-1]}')

    def steps(self, name: str) -> List[int]:
        """Return the global steps that a task has logged."""
        matches = (re.match(r'step (\d+)/', line) for line in list(self.lines.get(name, ())))
        return [int(match.group(1)) for match in matches if match]

    def wait(self, *names: str, timeout: Optional[float] = None) -> Dict[str, int]:
        """Wait until the tasks, all by default, have ended; return {name: exit code}."""
        names = names or tuple(self.tasks)
        codes = {name: self.tasks[name].wait(timeout) for name in names}
        for name in names:
            self._readers[name].join(1.)
        return codes

    def send(self, number: int, *names: str) -> None:
        """Send a signal to those of the tasks, all by default, that still run."""
        for name in names or tuple(self.tasks):
            if self.tasks[name].poll() is None:
                self.tasks[name].send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> Dict[str, int]:
        """Send a signal to all tasks and wait until they have ended; return {name: exit code}.

        The chief is the first, so that it can save while the servers still serve.
        """
        for name in sorted(self.tasks, key=lambda name: (name != 'worker 0', name)):
            self.send(number, name)
            try:
                self.tasks[name].wait(STOP_SECS)
            except subprocess.TimeoutExpired:
                self.send(signal.SIGKILL, name)
        return self.wait()


def print_line(line: str) -> None:
    """Print a line in one piece, although several threads print."""
    print(line + '\n', end='', flush=True)


def task_arguments(values: Any, own_flags: Iterable[str]) -> List[str]:
    """Return the command line's flags (absl FlagValues) for the tasks, without `own_flags`."""
    return [argument for name in explicitly_set(values) if name not in own_flags
            for argument in values[name].serialize().split('\n')]


def run(servers: int, workers: int, evaluator: bool, arguments: Sequence[str]) -> int:
    """Run a cluster to its end with the tasks' output merged, and return the exit code.

    All tasks are ended when one fails or a signal arrives. The exit code is that of the first task
    that failed, or of the chief; after a signal it is 128 plus the signal's number, unless the
    chief could not save.
    """
    signals: List[int] = []
    failures: List[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: signals.append(number))
    with LocalCluster(servers, workers, arguments, print_line, directory=os.getcwd()) as cluster:
        cluster.start(*cluster.names, *(['evaluator'] if evaluator else []))
        while not signals:
            codes = [task.poll() for task in cluster.tasks.values()]
            failures = [code for code in codes if code]
            if failures or None not in codes:
                break
            time.sleep(.2)
        chief_code = cluster.stop()['worker 0']
    # A chief that SIGTERM itself ends has not begun to train: it has nothing to save.
    if signals and chief_code in (0, 130, 143, -signal.SIGTERM):
        return 128 + signals[0]
    code = failures[0] if failures else chief_code
    return code if code >= 0 else 1  # negative: ended by a signal that was not ours

"""A cluster whose tasks are processes of this host: for trials, tests and measurements."""

import contextlib
import io
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from permafrost.cli.child_process import end_with_parent
from permafrost.cli.ending_signals import REQUEST_TO_END, on_ending_signals
from permafrost.cluster import cluster_spec
from permafrost.flags import explicitly_set
from permafrost.recipes import checks
from permafrost.training import setup
from permafrost.training.signals import INSISTENT

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Of a chief that has saved after a signal, or that the signal itself ended before it trained.
SAVED_CODES = [code for number in (signal.SIGINT, signal.SIGTERM, REQUEST_TO_END)
               for code in (128 + number, -number)]
STOP_SECS = 60.  # for a task to save and end, on a busy host too


def free_ports(count: int) -> List[int]:
    """Return ports of the loopback interface on which nobody listens now.

    They are below those that systems give to clients: one of these could take the port of a task
    that is started again.
    """
    candidates = random.Random().sample(range(10000, 32768), 20000)
    return list(itertools.islice(filter(_is_free, candidates), count))


def _is_free(port: int) -> bool:
    with socket.socket() as one, contextlib.suppress(OSError):
        one.bind(('127.0.0.1', port))
        return True
    return False


class LocalCluster:
    """Starts, restarts and stops the tasks of a cluster; as a context, it leaves no process behind.

    Args:
      arguments: of train_cluster.py, for every task.
      on_line: called with each line that a task prints, 'worker 0: ...'.
      hosts: {name of a task: 'host:port'}. Default: free ports of the loopback interface.
      prefix: called with the name of a task; returns the words in front of its command line.
      environment: variables for every task.
    """

    def __init__(self, servers: int, workers: int, arguments: Sequence[str], *,
                 on_line: Callable[[str], None] = lambda line: None,
                 hosts: Optional[Dict[str, str]] = None,
                 prefix: Callable[[str], List[str]] = lambda name: [],
                 environment: Optional[Dict[str, str]] = None):
        self.names = [*(f'ps {i}' for i in range(servers)),
                      *(f'worker {i}' for i in range(workers))]
        self.hosts = hosts or {name: f'127.0.0.1:{port}' for name, port in
                               zip(self.names, free_ports(len(self.names)))}
        self.tasks: Dict[str, subprocess.Popen] = {}  # {name: the process started last}
        self.lines: Dict[str, List[str]] = {}  # {name: all that it has printed}
        self._arguments, self._on_line, self._prefix = arguments, on_line, prefix
        self._environment = environment or {}
        self._readers: Dict[str, threading.Thread] = {}

    def __enter__(self) -> 'LocalCluster':
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop(signal.SIGKILL)

    def start(self, *names: str, extra_arguments: Iterable[str] = ()) -> None:
        """Start tasks, all by default, with `extra_arguments` after the others."""
        cluster = {job: [self.hosts[name] for name in self.names if name.startswith(job)]
                   for job in ('ps', 'worker')}
        for name in names or self.names:
            job, _, index = name.partition(' ')
            tf_config = {'cluster': cluster, 'task': {'type': job, 'index': index}}
            self.tasks[name] = subprocess.Popen(
                [*self._prefix(name), sys.executable, os.path.join(ROOT, 'train_cluster.py'),
                 *self._arguments, *extra_arguments],
                env=dict(os.environ, TF_CONFIG=json.dumps(tf_config), **self._environment),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                universal_newlines=True, errors='backslashreplace',
                start_new_session=True,  # Ctrl-C must not reach them
                preexec_fn=end_with_parent(REQUEST_TO_END))  # however this process ends
            self.lines.setdefault(name, [])
            self._readers[name] = threading.Thread(
                target=self._read, args=(name, self.tasks[name]), daemon=True)
            self._readers[name].start()

    def _read(self, name: str, process: subprocess.Popen) -> None:
        with process.stdout:
            for line in process.stdout:
                self.lines[name].append(line.rstrip('\n'))
                self._on_line(f'{name}: {self.lines[name][-1]}')

    def steps(self, name: str) -> List[int]:
        """Return the global steps that a task has logged."""
        text = '\n'.join(self.lines.get(name, ()))
        return [int(step) for step in re.findall(r'^step (\d+)/', text, re.MULTILINE)]

    def wait(self, *names: str, timeout: Optional[float] = None) -> Dict[str, int]:
        """Wait until the tasks, all by default, have ended; return {name: exit code}."""
        names = names or tuple(self.tasks)
        codes = {name: self.tasks[name].wait(timeout) for name in names}
        for name in names:
            self._readers[name].join(10.)  # a child of the task may keep the pipe open
        return codes

    def send(self, number: int, *names: str) -> None:
        """Send a signal to those of the tasks, all by default, that still run."""
        for name in names or self.tasks:
            self.tasks[name].send_signal(number)  # does nothing if the task has ended

    def stop(self, number: int = signal.SIGTERM) -> Dict[str, int]:
        """Send a signal to all tasks and wait until they have ended; return {name: exit code}.

        The chief is the first, so that it can save, and the servers are the last, so that no worker
        waits for one that has left.
        """
        for name in sorted(self.tasks, key=_stop_order):
            self.send(number, name)
            try:
                self.tasks[name].wait(STOP_SECS)
            except subprocess.TimeoutExpired:
                self.send(signal.SIGKILL, name)
        return self.wait()


def _stop_order(name: str) -> Tuple[bool, bool, str]:
    return name != 'worker 0', name.startswith('ps'), name


class Printer:
    """Prints lines of tasks, each in one piece. An error of several tasks is printed once."""

    def __init__(self) -> None:
        self._errors: List[str] = []

    def __call__(self, line: str) -> None:
        text = line.partition(': ')[2]
        if text.startswith('error: '):
            if text in self._errors:
                return
            self._errors.append(text)
        print(line + '\n', end='', flush=True)


def check(values: Any) -> None:
    """Raise the UserError that every task would print for these flags (absl FlagValues), if any."""
    with contextlib.redirect_stdout(io.StringIO()):
        train_setup = setup.prepare_training(values)
    setup.check_sources(train_setup)
    saved = cluster_spec.load_cluster_json(train_setup.run) if train_setup.resume else {}
    if (values.mode or saved.get('mode')) == 'sync':
        backups = (saved.get('backup_workers', 0) if values.backup_workers is None else
                   values.backup_workers)
        checks.check_batch_size(train_setup.config.recipe.batch_size,
                                max(1, values.workers - backups))


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
    own_flags = f'--ps={servers} --workers={workers}' + evaluator * ' --evaluator'
    with LocalCluster(servers, workers, arguments, on_line=Printer(),
                      environment={cluster_spec.LOCAL_CLUSTER: own_flags}) as cluster:
        def end(number: int, unused_frame: Any) -> None:
            signals.append(number)
            if len(signals) > 1 and number in INSISTENT:
                cluster.send(signal.SIGKILL)

        handlers = on_ending_signals(end)
        cluster.start(*cluster.names, *(['evaluator'] if evaluator else []))
        codes: List[Optional[int]] = [None]
        while not signals and None in codes and not any(codes):
            time.sleep(.2)
            codes = [task.poll() for task in cluster.tasks.values()]
        if signals:
            print('stopping: waiting for the chief to save; press Ctrl-C again to end at once',
                  flush=True)
        elif any(codes):
            name, code = next(item for item in zip(cluster.tasks, codes) if item[1])
            how = f'was killed by signal {-code}' if code < 0 else f'ended with exit code {code}'
            print(f'{name} {how}: ending the others', flush=True)
        chief_code = cluster.stop(REQUEST_TO_END)['worker 0']
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if signals and chief_code in (0, *SAVED_CODES):
        return 128 + signals[0]
    code = next(filter(None, codes), chief_code)
    return code if code >= 0 else 1  # negative: ended by a signal that was not ours

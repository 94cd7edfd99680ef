"""The addresses of a cluster's tasks, and which of the tasks this process is.

Flags override the environment variable TF_CONFIG, which overrides the run's cluster.json. Worker 0
is the chief. Nothing here imports TensorFlow, so wrong flags are reported at once.
"""

import collections
import dataclasses
import os
import re
import time
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from permafrost import files, schema
from permafrost.cluster import network
from permafrost.errors import UsageError, printable, shown, unknown_name_error
from permafrost.schema import limited

FILE = 'cluster.json'
# An environment variable that tools/local_cluster.py sets: the flags that start its cluster again.
LOCAL_CLUSTER = 'PERMAFROST_LOCAL_CLUSTER'
JOBS = ('ps', 'worker', 'chief', 'master', 'evaluator')
EXAMPLE = ('{"cluster": {"ps": ["a:2222"], "worker": ["b:2222"]}, '
           '"task": {"type": "worker", "index": 0}}')


class ClusterSpec(NamedTuple):
    """Addresses (host:port) of the tasks. The evaluator has none: it only reads files."""
    ps: Tuple[str, ...]
    workers: Tuple[str, ...]  # the first is the chief

    def servers(self) -> Dict[str, str]:
        """Return {'ps 0': address, ...}."""
        return {f'ps {i}': address for i, address in enumerate(self.ps)}

    def tasks(self) -> Dict[str, str]:
        """Return {'ps 0': address, ..., 'worker 0': address, ...}."""
        workers = {f'worker {i}': address for i, address in enumerate(self.workers)}
        return dict(self.servers(), **workers)


@dataclasses.dataclass
class ClusterFile:
    """The fields of cluster.json."""
    ps: Tuple[str, ...]
    workers: Tuple[str, ...]
    mode: str = limited('async', names=('async', 'sync'))
    backup_workers: int = limited(0, minimum=0)
    run_id: int = limited(0, minimum=0, earlier='number')


@dataclasses.dataclass(frozen=True)
class Task:
    """One process of the cluster."""
    job: str  # ps, worker or evaluator
    index: int = 0

    @property
    def is_chief(self) -> bool:
        return self.job == 'worker' and self.index == 0

    def __str__(self) -> str:
        return self.job if self.job == 'evaluator' else f'{self.job} {self.index}'


class TaskContext(NamedTuple):
    """The cluster and the task that is this process. Without parameter servers it trains alone."""
    spec: ClusterSpec
    task: Task
    summary: str  # one line: the size of the cluster, this task, and where both come from


class TaskOptions(NamedTuple):
    """How the tasks work together. The chief remembers the first two in cluster.json."""
    mode: str  # 'async' or 'sync'
    backup_workers: int  # sync mode: each step ignores this many slowest workers
    wait_secs: float  # how long to wait for missing tasks
    overwrite: bool = False  # the chief takes servers that hold another run
    resume: bool = False
    allow_public: bool = False  # addresses


def resolve_cluster(ps_hosts: Sequence[str], worker_hosts: Sequence[str], job_name: Optional[str],
                    task_index: Optional[int], environment: Mapping[str, str] = os.environ,
                    run: Optional[str] = None) -> TaskContext:
    """Return the cluster and the task of this process.

    The first four arguments are flags, None or empty if not given. `environment` may contain
    TF_CONFIG; the run directory `run` may contain cluster.json.
    """
    text = environment.get('TF_CONFIG', '').strip()
    tf_hosts, tf_job, tf_index = _parse_tf_config(text or '{}')
    saved = load_cluster_json(run) if run else {}
    if ps_hosts or worker_hosts:
        if not (ps_hosts and worker_hosts):
            raise UsageError('--ps_hosts and --worker_hosts go together: give at least one of each')
        hosts, source = {'ps': ps_hosts, 'worker': worker_hosts}, 'flags'
    elif text:
        hosts, source = tf_hosts, 'TF_CONFIG'
    elif saved:
        hosts, source = {'ps': saved['ps'], 'worker': saved['workers']}, f'{run}/{FILE}'
    else:
        raise UsageError('no cluster is given: use --ps_hosts and --worker_hosts, set TF_CONFIG, '
                         f'or --resume a --run that has a {FILE}')
    spec = _checked_spec(hosts, source)
    if not spec.ps and not job_name and tf_job != 'evaluator':
        task, task_source = Task('worker'), source  # TF_CONFIG of a cloud trainer, one machine
    elif job_name or task_index is not None:
        task = _checked_task(job_name or tf_job or 'worker', task_index, spec, hosts)
        task_source = 'flags'
    elif tf_job:
        task, task_source = _checked_task(tf_job, tf_index, spec, tf_hosts), 'TF_CONFIG'
    else:
        raise UsageError('which task is this? give --job_name (ps, worker, chief or evaluator) '
                         'and --task_index, or set TF_CONFIG')
    plural = 's' if len(spec.workers) > 1 else ''
    chief = ' (chief)' if task.is_chief else ''
    return TaskContext(spec, task, f'{len(spec.ps)} ps, {len(spec.workers)} worker{plural} '
                       f'(from {source}); this is {task}{chief} (from {task_source})')


def new_run_id() -> int:
    """Return a number that no other run has."""
    return int(time.time() * 1e6)


def save_cluster_json(run: str, spec: ClusterSpec, mode: str, backup_workers: int, run_id: int
                      ) -> None:
    """Write cluster.json of `run`."""
    files.write_json(os.path.join(run, FILE), {
        'ps': spec.ps, 'workers': spec.workers, 'mode': mode, 'backup_workers': backup_workers,
        'run_id': run_id})


def load_cluster_json(run: str) -> Dict[str, Any]:
    """Return the value of cluster.json; {} if there is none. Raises UserError if it is damaged."""
    try:
        return schema.read(os.path.join(run, FILE), ClusterFile,
                           'delete it, and give --ps_hosts and --worker_hosts')
    except FileNotFoundError:
        return {}


def _parse_tf_config(text: str) -> Tuple[Dict[str, Any], Optional[str], Any]:
    """Return {job: addresses}, and the job and the index of this task; jobs in lower case."""
    try:
        value = schema.check(files.parse_json(os.fsencode(text)), Dict[str, Any])
        cluster, task = (schema.check(value.get(name) or {}, Dict[str, Any], name)
                         for name in ('cluster', 'task'))
        job = schema.check(task.get('type') or '', str, 'task.type').lower()
    except (UsageError, ValueError) as error:
        raise UsageError(f'TF_CONFIG cannot be read ({error}): write json such as {EXAMPLE}')
    hosts = {name.lower(): addresses for name, addresses in cluster.items()}
    for name in cluster:
        if name.lower() not in JOBS:
            raise unknown_name_error('job in TF_CONFIG', name, JOBS)
    return hosts, job or None, task.get('index', 0)


def _checked_spec(hosts: Dict[str, Any], source: str) -> ClusterSpec:
    """Return the ClusterSpec of {job: addresses}; raise UsageError if there can be none."""
    def addresses(job: str) -> Tuple[str, ...]:
        value = hosts.get(job, [])
        if not isinstance(value, (list, tuple)) or not all(isinstance(x, str) for x in value):
            raise UsageError(f'{printable(source)}: the hosts of {job} must be a list of host:port')
        return tuple(value)

    chiefs = addresses('chief') + addresses('master')
    if len(chiefs) > 1:
        raise UsageError(f"only one task can be the chief (or master): {', '.join(chiefs)}")
    spec = ClusterSpec(addresses('ps'), chiefs + addresses('worker'))
    for address, count in collections.Counter(spec.ps + spec.workers).items():
        network.parse(address)
        if count > 1:
            raise UsageError(f'{address} is given twice: each task needs a port of its own')
    if spec.ps and not spec.workers:
        raise UsageError('a cluster needs at least one worker: none is given')
    if len(spec.workers) > 1 and not spec.ps:
        raise UsageError(f'{len(spec.workers)} workers need a parameter server: none is given')
    return spec


def _checked_task(job: str, index: Any, spec: ClusterSpec, hosts: Dict[str, Any]) -> Task:
    """Return the Task of a job and index. A chief in `hosts` comes before the workers."""
    if job not in JOBS:
        raise unknown_name_error('job', job, JOBS)
    has_chief = bool(hosts.get('chief') or hosts.get('master'))
    count = {'ps': len(spec.ps), 'worker': len(spec.workers) - has_chief}.get(job, 1)
    if index is None and count > 1:
        raise UsageError(f'which {job} is this? give --task_index, 0 to {count - 1}')
    text = str(index or 0).strip() if isinstance(index, (int, str, type(None))) else ''
    if not re.fullmatch('[0-9]{1,9}', text):
        raise UsageError(f'task index {shown(index)} must be a whole number, 0 or more')
    index = int(text)
    if index >= count:
        valid = f'{job} 0 to {count - 1}' if count > 1 else f'only {job} 0' if count else 'none'
        raise UsageError(f'there is no {job} {index}: the cluster has {valid}')
    if job in ('chief', 'master'):
        return Task('worker')
    return Task(job, index + has_chief if job == 'worker' else index)

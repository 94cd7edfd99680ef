"""The addresses of a cluster's tasks, and which of the tasks this process is.

Flags override the environment variable TF_CONFIG, which overrides the run's cluster.json. Worker 0
is the chief. Nothing here imports TensorFlow, so wrong flags are reported at once.
"""

import dataclasses
import json
import os
import time
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from permafrost import files
from permafrost.cluster import network
from permafrost.errors import UsageError, UserError, unknown_name_error

FILE = 'cluster.json'
JOBS = ('ps', 'worker', 'chief', 'master', 'evaluator')
EXAMPLE = ('{"cluster": {"ps": ["a:2222"], "worker": ["b:2222"]}, '
           '"task": {"type": "worker", "index": 0}}')


class ClusterSpec(NamedTuple):
    """Addresses (host:port) of the tasks. The evaluator has none: it only reads files."""
    ps: Tuple[str, ...] = ()
    workers: Tuple[str, ...] = ()  # the first is the chief

    def servers(self) -> Dict[str, str]:
        """Return {'ps 0': address, ...}."""
        return {f'ps {i}': address for i, address in enumerate(self.ps)}

    def tasks(self) -> Dict[str, str]:
        """Return {'ps 0': address, ..., 'worker 0': address, ...}."""
        workers = {f'worker {i}': address for i, address in enumerate(self.workers)}
        return dict(self.servers(), **workers)


@dataclasses.dataclass(frozen=True)
class Task:
    """One process of the cluster."""
    job: str  # ps, worker or evaluator
    index: int = 0

    @property
    def name(self) -> str:
        return self.job if self.job == 'evaluator' else f'{self.job} {self.index}'

    @property
    def is_chief(self) -> bool:
        return self.job == 'worker' and self.index == 0

    def __str__(self) -> str:
        return self.name + (' (chief)' if self.is_chief else '')


class TaskContext(NamedTuple):
    """The cluster and the task that is this process. Without parameter servers it trains alone."""
    spec: ClusterSpec
    task: Task
    summary: str  # one line: the size of the cluster, this task, and where both come from


class _TFConfig(NamedTuple):
    """The value of TF_CONFIG, its job names in lower case."""
    hosts: Dict[str, Any] = {}  # {job: addresses}
    job: Optional[str] = None  # of this task
    index: Any = None  # of this task: a number or a string


def resolve_cluster(ps_hosts: Sequence[str], worker_hosts: Sequence[str], job_name: Optional[str],
                    task_index: Optional[int], environment: Mapping[str, str] = os.environ,
                    run: Optional[str] = None) -> TaskContext:
    """Return the cluster and the task of this process.

    Args:
      ps_hosts, worker_hosts, job_name, task_index: flags; None or empty if not given.
      environment: may contain TF_CONFIG.
      run: the run directory, which may contain cluster.json.
    """
    text = environment.get('TF_CONFIG', '').strip()
    tf_config = _parse_tf_config(text) if text else _TFConfig()
    if ps_hosts or worker_hosts:
        if not (ps_hosts and worker_hosts):
            raise UsageError('--ps_hosts and --worker_hosts go together: give at least one of each')
        hosts, source = {'ps': ps_hosts, 'worker': worker_hosts}, 'flags'
    elif text:
        hosts, source = tf_config.hosts, 'TF_CONFIG'
    elif run and os.path.exists(os.path.join(run, FILE)):
        saved = load_cluster_json(run)
        hosts, source = {'ps': saved['ps'], 'worker': saved['workers']}, os.path.join(run, FILE)
    else:
        raise UsageError('no cluster is given: use --ps_hosts and --worker_hosts, set TF_CONFIG, '
                         f'or --resume a --run that has a {FILE}')
    spec = _checked_spec(hosts, source)
    if not spec.ps and not job_name and tf_config.job != 'evaluator':
        task, task_source = Task('worker'), source  # TF_CONFIG of a cloud trainer, one machine
    elif job_name or task_index is not None:
        task = _checked_task(job_name or tf_config.job or 'worker', task_index, spec, hosts)
        task_source = 'flags'
    elif tf_config.job:
        task = _checked_task(tf_config.job, tf_config.index, spec, tf_config.hosts)
        task_source = 'TF_CONFIG'
    else:
        raise UsageError('which task is this? give --job_name (ps, worker or evaluator) and '
                         '--task_index, or set TF_CONFIG')
    plural = 's' if len(spec.workers) > 1 else ''
    return TaskContext(spec, task, f'{len(spec.ps)} ps, {len(spec.workers)} worker{plural} '
                       f'(from {source}); this is {task} (from {task_source})')


def save_cluster_json(run: str, spec: ClusterSpec, mode: str = 'async', backup_workers: int = 0
                      ) -> int:
    """Write cluster.json of `run`; return its run_id, a number that no other run has."""
    saved = load_cluster_json(run)  # earlier versions call the run_id number
    run_id = saved.get('run_id') or saved.get('number') or int(time.time() * 1e6)
    files.write_json(os.path.join(run, FILE), {
        'ps': spec.ps, 'workers': spec.workers, 'mode': mode, 'backup_workers': backup_workers,
        'run_id': run_id})
    return run_id


def load_cluster_json(run: str) -> Dict[str, Any]:
    """Return the value of cluster.json; {} if there is none. Raises UserError if it is damaged."""
    path = os.path.join(run, FILE)
    if not os.path.exists(path):
        return {}
    value = files.read_json(path)
    if not isinstance(value, dict) or 'ps' not in value or 'workers' not in value or not all(
            isinstance(value.get(name, 0), int) for name in ('run_id', 'number', 'backup_workers')):
        raise UserError(f'{path} is damaged: delete it, and give --ps_hosts and --worker_hosts')
    return value


def _parse_tf_config(text: str) -> _TFConfig:
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError('not an object')
        cluster, task = value.get('cluster') or {}, value.get('task') or {}
        if not isinstance(cluster, dict) or not isinstance(task, dict):
            raise ValueError('cluster and task must be objects')
    except ValueError as error:
        raise UsageError(f'TF_CONFIG cannot be read ({error}): write json such as {EXAMPLE}')
    for job in cluster:
        if job.lower() not in JOBS:
            raise unknown_name_error('job in TF_CONFIG', job, JOBS)
    hosts = {job.lower(): value for job, value in cluster.items()}
    job = str(task['type']).lower() if task.get('type') else None
    return _TFConfig(hosts, job, task.get('index', 0))


def _checked_spec(hosts: Dict[str, Any], source: str) -> ClusterSpec:
    """Return the ClusterSpec of {job: addresses}; raise UsageError if there can be none."""
    def addresses(job: str) -> Tuple[str, ...]:
        value = hosts.get(job, [])
        if isinstance(value, dict) and set(value) == {str(i) for i in range(len(value))}:
            value = [value[str(i)] for i in range(len(value))]  # TensorFlow allows {index: address}
        if not isinstance(value, (list, tuple)) or not all(isinstance(x, str) for x in value):
            raise UsageError(f'{source}: the hosts of {job} must be a list of host:port')
        return tuple(value)

    chiefs = addresses('chief') + addresses('master')
    if len(chiefs) > 1:
        raise UsageError(f"only one task can be the chief (or master): {', '.join(chiefs)}")
    spec = ClusterSpec(addresses('ps'), chiefs + addresses('worker'))
    for address in spec.ps + spec.workers:
        network.parse(address)
        if (spec.ps + spec.workers).count(address) > 1:
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
    has_chief = 'chief' in hosts or 'master' in hosts
    count = {'ps': len(spec.ps), 'worker': len(spec.workers) - has_chief}.get(job, 1)
    if index is None and count > 1:
        raise UsageError(f'which {job} is this? give --task_index, 0 to {count - 1}')
    try:
        index = int(index or 0)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f'task index {index!r} is not a number')
    if not 0 <= index < count:
        valid = f'0 to {count - 1}' if count else 'none'
        raise UsageError(f'there is no {job} {index}: the cluster has {valid}')
    if job in ('chief', 'master'):
        return Task('worker')
    return Task(job, index + has_chief if job == 'worker' else index)

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
    ps: Tuple[str, ...]
    workers: Tuple[str, ...]  # the first is the chief

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
    def is_chief(self) -> bool:
        return self.job == 'worker' and self.index == 0

    def __str__(self) -> str:
        return self.job if self.job == 'evaluator' else f'{self.job} {self.index}'


class TaskContext(NamedTuple):
    """The cluster and the task that is this process. Without parameter servers it trains alone."""
    spec: ClusterSpec
    task: Task
    summary: str  # one line: the size of the cluster, this task, and where both come from


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
        raise UsageError('which task is this? give --job_name (ps, worker or evaluator) and '
                         '--task_index, or set TF_CONFIG')
    plural = 's' if len(spec.workers) > 1 else ''
    chief = ' (chief)' if task.is_chief else ''
    return TaskContext(spec, task, f'{len(spec.ps)} ps, {len(spec.workers)} worker{plural} '
                       f'(from {source}); this is {task}{chief} (from {task_source})')


def save_cluster_json(run: str, spec: ClusterSpec, mode: str, backup_workers: int) -> int:
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


def _parse_tf_config(text: str) -> Tuple[Dict[str, Any], Optional[str], Any]:
    """Return {job: addresses}, and the job and the index of this task; jobs in lower case."""
    try:
        value = json.loads(text)
        cluster, task = value.get('cluster') or {}, value.get('task') or {}
        hosts = {job.lower(): addresses for job, addresses in cluster.items()}
        job, index = task.get('type'), task.get('index', 0)
    except (ValueError, AttributeError) as error:
        problem = error if isinstance(error, ValueError) else 'cluster and task must be objects'
        raise UsageError(f'TF_CONFIG cannot be read ({problem}): write json such as {EXAMPLE}')
    for name in cluster:
        if name.lower() not in JOBS:
            raise unknown_name_error('job in TF_CONFIG', name, JOBS)
    return hosts, str(job).lower() if job else None, index


def _checked_spec(hosts: Dict[str, Any], source: str) -> ClusterSpec:
    """Return the ClusterSpec of {job: addresses}; raise UsageError if there can be none."""
    def addresses(job: str) -> Tuple[str, ...]:
        value = hosts.get(job, [])
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

"""Which tasks a cluster has, where, and which of them this process is.

Flags win over the variable TF_CONFIG, which wins over the run's cluster.json. Worker 0 is the
chief. Nothing here imports TensorFlow: mistakes are answered at once.
"""

import json
import os
from typing import NamedTuple, Tuple

from permafrost import files
from permafrost.cluster import network
from permafrost.errors import UsageError, UserError, unknown_name_error

FILE = 'cluster.json'
JOBS = ('ps', 'worker', 'chief', 'master', 'evaluator')


class ClusterSpec(NamedTuple):
    """Addresses, 'host:port', of all tasks. The evaluator has none: it only reads files."""
    ps: Tuple[str, ...] = ()
    workers: Tuple[str, ...] = ()

    def address(self, task):
        """The address of `task`, or None for the evaluator's."""
        return None if task.job == 'evaluator' else self._of(task.job)[task.index]

    def _of(self, job):
        return {'ps': self.ps, 'worker': self.workers}[job]

    def tasks(self):
        """{'ps 0': address, ...} of all tasks."""
        return dict([('ps %d' % i, a) for i, a in enumerate(self.ps)] +
                    [('worker %d' % i, a) for i, a in enumerate(self.workers)])


class Task(NamedTuple):
    """One process: `job` is ps, worker or evaluator."""
    job: str
    index: int = 0

    @property
    def is_chief(self):
        return self == ('worker', 0)

    def __str__(self):
        return 'evaluator' if self.job == 'evaluator' else '%s %d%s' % (
            self.job, self.index, ' (chief)' if self.is_chief else '')


class TaskContext(NamedTuple):
    """The cluster, and this process in it. Neither ps nor other workers: it trains alone."""
    spec: ClusterSpec
    task: Task
    says: str  # where each comes from


def resolve_cluster(ps_hosts, worker_hosts, job_name, task_index, environment=os.environ, run=None):
    """The Place of this process.

    Args:
      ps_hosts, worker_hosts, job_name, task_index: flags; None or []: not given.
      environment: where TF_CONFIG may be.
      run: the run directory whose cluster.json may be used, or None.
    Raises:
      UsageError: what is given cannot be meant, or nothing is.
      UserError: cluster.json is damaged.
    """
    text = environment.get('TF_CONFIG', '').strip()
    jobs, tf_task = _tf_config(text) if text else ({}, None)
    if ps_hosts or worker_hosts:
        if not (ps_hosts and worker_hosts):
            raise UsageError('--ps_hosts and --worker_hosts go together: name at least one of each')
        spec, source = _spec({'ps': ps_hosts, 'worker': worker_hosts}), 'flags'
    elif text:
        spec, source = _spec(jobs), 'TF_CONFIG'
    elif run and os.path.exists(os.path.join(run, FILE)):
        spec, source = _remembered(run), os.path.join(run, FILE)
    else:
        raise UsageError('no cluster is named: give --ps_hosts and --worker_hosts, set TF_CONFIG, '
                         'or --resume a --run that has a ' + FILE)
    if not spec.ps and not job_name and (tf_task or ('worker',))[0] != 'evaluator':
        task, task_source = Task('worker'), source  # a cloud's TF_CONFIG of one machine
    elif job_name or task_index is not None:
        # TF_CONFIG's chief comes before its workers; --worker_hosts begins with it.
        shift = bool(source == 'TF_CONFIG' and {'chief', 'master'} & set(jobs))
        task, task_source = _task(
            job_name or (source == 'TF_CONFIG' and tf_task or ('worker',))[0], task_index, spec,
            shift), 'flags'
    elif tf_task:
        task = _task(tf_task[0], tf_task[1], spec, bool({'chief', 'master'} & set(jobs)))
        task_source = 'TF_CONFIG'
    else:
        raise UsageError('which task is this? give --job_name (ps, worker or evaluator) and '
                         '--task_index, or set TF_CONFIG')
    says = '%d ps, %d worker%s (from %s); this is %s (from %s)' % (
        len(spec.ps), len(spec.workers), 's' * (len(spec.workers) > 1), source, task, task_source)
    return TaskContext(spec, task, says)


def save_cluster_json(run, spec, **fields):
    """Writes cluster.json of `run`: `spec`, and `fields`."""
    files.write_json(os.path.join(run, FILE), dict(fields, ps=spec.ps, workers=spec.workers))


def load_cluster_json(run):
    """The value of cluster.json; {} where there is none. Raises UserError where damaged."""
    try:
        with open(os.path.join(run, FILE)) as stream:
            value = json.load(stream)
        if not isinstance(value, dict) or not isinstance(value.get('ps'), list):
            raise ValueError('no list of ps')
        return value
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError('%s is damaged (%s): delete it, and name the hosts by flags' % (
            os.path.join(run, FILE), error))


def _remembered(run):
    value = load_cluster_json(run)
    return _spec({'ps': value['ps'], 'worker': value.get('workers', [])})


def _tf_config(text):
    """({job: [addresses]}, (job, index) or None) of a TF_CONFIG, jobs in lower case."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError('not an object')
        cluster, task = value.get('cluster') or {}, value.get('task') or {}
        if not isinstance(cluster, dict) or not isinstance(task, dict):
            raise ValueError('cluster and task must be objects')
    except ValueError as error:
        raise UsageError('TF_CONFIG cannot be read (%s): it is json such as {"cluster": {"ps": '
                         '["a:2222"], "worker": ["b:2222"]}, "task": {"type": "worker", "index": '
                         '0}}' % error)
    for job in cluster:
        if job.lower() not in JOBS:
            raise unknown_name_error('job in TF_CONFIG', job, JOBS)
    jobs = {job.lower(): _hosts(job, hosts) for job, hosts in cluster.items()}
    if not task.get('type'):
        return jobs, None
    return jobs, (str(task['type']).lower(), task.get('index', 0))


def _hosts(job, hosts):
    if isinstance(hosts, dict):  # as tf.train.ClusterSpec also takes them: index -> address
        hosts = [hosts[key] for key in sorted(hosts, key=int)] \
            if sorted(hosts, key=str) == sorted(map(str, range(len(hosts)))) else None
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise UsageError('TF_CONFIG: the hosts of %s must be a list of host:port' % job)
    return hosts


def _spec(jobs):
    """The Spec of {job: [addresses]}, checked."""
    chiefs = list(jobs.get('chief', [])) + list(jobs.get('master', []))
    if len(chiefs) > 1:
        raise UsageError('one task is the chief (or master), not %d: %s' % (
            len(chiefs), ', '.join(chiefs)))
    spec = ClusterSpec(tuple(jobs.get('ps', [])), tuple(chiefs) + tuple(jobs.get('worker', [])))
    every = spec.ps + spec.workers
    for address in every:
        network.parse(address)
        if every.count(address) > 1:
            raise UsageError('%s is named twice: each task has a port of its own' % address)
    if spec.ps and not spec.workers:
        raise UsageError('a cluster needs a worker: none is named')
    if len(spec.workers) > 1 and not spec.ps:
        raise UsageError('%d workers need a parameter server: none is named' % len(spec.workers))
    return spec


def _task(job, index, spec, has_chief):
    """The Task of (job, index), of which the chief comes before the workers in `spec`."""
    if job not in JOBS:
        raise unknown_name_error('job', job, JOBS)
    count = {'ps': len(spec.ps), 'worker': len(spec.workers) - has_chief}.get(job, 1)
    try:
        index = (0 if count == 1 else None) if index is None else int(index)
    except (TypeError, ValueError):
        raise UsageError('task index %r is not a number' % (index,))
    if index is None:
        raise UsageError('which %s is this? give --task_index, 0 to %d' % (job, count - 1))
    if not 0 <= index < count:
        raise UsageError('there is no %s %d: the cluster has %s' % (
            job, index, '%d to %d' % (0, count - 1) if count else 'none'))
    if job in ('chief', 'master'):
        return Task('worker', 0)
    return Task(job, index + has_chief if job == 'worker' else index)

"""From the flags of a cluster's task to what it runs; TensorFlow is imported once they are good."""

import collections
import contextlib
import os
import time

from permafrost import runs, runtime
from permafrost.cluster import cluster_spec, network
from permafrost.errors import UsageError, UserError
from permafrost.training import checkpoints, setup

# mode: 'async' or 'sync'; backup_workers: that may be late in a synchronous step; wait_secs: for
# tasks that are missing.
TaskOptions = collections.namedtuple('Options', 'mode backup_workers wait_secs')

POLL_SECS = 1.


def run(values):
    """Runs the task that the absl flags `values` ask for to its end; returns the exit code."""
    directory = values.run or (runs.list_runs(values.log_dir, values.model)[-1:] or [None])[0] \
        if values.run or values.resume else None
    place = cluster_spec.resolve_cluster(values.ps_hosts, values.worker_hosts, values.job_name, values.task_index,
                        run=directory)
    print('cluster: ' + place.says, flush=True)
    hosts = list(place.spec.tasks().values())
    network.require_private(hosts, values.allow_public)
    proxies = network.bypass_proxies(hosts)
    if proxies:
        print(proxies, flush=True)
    known = cluster_spec.load_cluster_json(directory) if directory else {}
    options = TaskOptions(values.mode or known.get('mode', 'async'),
                      known.get('backup_workers', 0) if values.backup_workers is None
                      else values.backup_workers, values.wait_secs)
    return {'ps': _serve, 'worker': _work, 'evaluator': _evaluate}[place.task.job](
        place, options, values)


def _prepare(values):
    return runtime.prepare(values.deterministic, values.intra_op_threads, values.inter_op_threads)


def _serve(place, options, values):
    session_config = _prepare(values)
    from permafrost.cluster import parameter_server
    return parameter_server.serve(place.spec, place.task, session_config, options.wait_secs)


def _work(place, options, values):
    start = setup.prepare(values, place.task.is_chief)
    session_config = runtime.prepare(start.config.deterministic, start.config.intra_op_threads,
                                    start.config.inter_op_threads)
    from permafrost.cluster import worker
    from permafrost.training import loop
    if not place.spec.ps:
        return loop.train(*start, session_config)
    with contextlib.closing(worker.ClusterWorker(
            place, options, start.config, session_config)) as here:
        if place.task.is_chief:
            return loop.train(*start, session_config, here)
        return worker.train_worker(start.config, start.dataset, session_config, here)


def _evaluate(place, options, values):
    """What eval.py --follow does, for a run that may be still to come."""
    if not values.run and not values.resume:
        raise UsageError('the evaluator needs the --run of the chief: the newest of %s may be an '
                         'earlier one' % values.model)
    start = time.time()
    while not (values.run and runs.exists(values.run) or not values.run
               and runs.list_runs(values.log_dir, values.model)):
        if time.time() - start > options.wait_secs:
            raise UserError('no run in %s after %d s: give the evaluator the --run of the chief, '
                            'on a disk that both see' % (
                                values.run or os.path.join(values.log_dir, values.model),
                                options.wait_secs))
        time.sleep(POLL_SECS)
    run = values.run or runs.list_runs(values.log_dir, values.model)[-1]
    if _waits(run, values.steps):
        print('waiting for %s to be trained on to step %d' % (run, values.steps), flush=True)
    while _waits(run, values.steps) and time.time() - start < options.wait_secs:
        time.sleep(POLL_SECS)
    left = options.wait_secs - (0 if runs.is_running(run) else time.time() - start)
    session_config = _prepare(values)
    from permafrost.evaluation import evaluate
    evaluate.evaluate_run(run, session_config, following=True, patience=left,
                        data_dir=values.data_dir)


def _waits(run, steps):
    """Whether `run` is to be trained on to `steps`, and its chief has not begun to."""
    return bool(steps) and max(checkpoints.list_checkpoints(run), default=0) < steps and not runs.is_running(run)

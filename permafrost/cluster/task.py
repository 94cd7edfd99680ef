"""Run one task of a cluster: find out which one the flags mean, then serve, train or evaluate.

TensorFlow is imported once the flags are known to be right.
"""

import contextlib
import os
import time
from typing import Any, Callable, Optional

from absl import flags

from permafrost import engines, runs
from permafrost.cluster import cluster_spec, network
from permafrost.errors import UsageError, UserError, printable
from permafrost.flags import define_train_flags, define_training_cluster_flags
from permafrost.training import setup

flags.disclaim_key_flags()

POLL_SECS = 1.
WithTeacher = Callable[[setup.TrainSetup, Any], setup.TrainSetup]
Evaluate = Callable[[str, Any, float], Any]  # of the arguments run, session_config, restart_timeout


def define_flags() -> None:
    """Define the flags of a task: those of a training and of its cluster, and which task it is."""
    define_train_flags()
    define_training_cluster_flags()
    flags.DEFINE_list('ps_hosts', [], 'Parameter servers, host:port,... Default: from TF_CONFIG, '
                      "or else from the run's cluster.json.")
    flags.DEFINE_list('worker_hosts', [], 'Workers, host:port,...; the first is the chief. '
                      'Default: as for --ps_hosts.')
    flags.DEFINE_enum('job_name', None, ['ps', 'worker', 'chief', 'evaluator'],
                      'Job of this task. Default: from TF_CONFIG.')
    flags.DEFINE_integer('task_index', None, 'Index of this task within its job, from 0.', 0)


def run(values: Any, evaluate: Evaluate, train_chief: Callable[..., int],
        with_teacher: WithTeacher) -> int:
    """Run the task that the flags (absl FlagValues) ask for; return the exit code.

    `train_chief` is experiments.train_and_evaluate.train. `with_teacher` reads the teacher of a
    TrainSetup. The evaluator calls `evaluate`: it evaluates the checkpoints of a run until its
    training ends, and waits restart_timeout seconds for a training that has stopped to start again.
    """
    run_dir = run_directory(values)
    context = cluster_spec.resolve_cluster(
        values.ps_hosts, values.worker_hosts, values.job_name, values.task_index, run=run_dir)
    print('cluster: ' + context.summary, flush=True)
    addresses = list(context.spec.tasks().values())
    network.require_private(addresses, values.allow_public)
    network.bypass_proxies(addresses)
    saved = cluster_spec.load_cluster_json(run_dir) if run_dir else {}
    mode, backup_workers = values.mode or saved.get('mode', 'async'), values.backup_workers
    if backup_workers is None:
        backup_workers = saved.get('backup_workers', 0) if mode == 'sync' else 0
    options = cluster_spec.TaskOptions(
        mode, backup_workers, values.wait_secs, values.overwrite, values.resume,
        values.allow_public)
    if context.task.job == 'worker':
        # The others ignore the flag, and cannot see the run, which knows the mode.
        if backup_workers and mode != 'sync':
            raise UsageError('--backup_workers needs --mode=sync')
        return train(context, options, values, train_chief, with_teacher)
    if context.task.job == 'evaluator':
        evaluate_run(options, values, evaluate)
        return 0
    os.environ['CUDA_VISIBLE_DEVICES'] = '-1'  # variables stay in the memory of the host
    session_config = engines.prepare(values)
    from permafrost.cluster.servers import parameter_server
    return parameter_server.serve(context.spec, context.task, session_config, options.wait_secs)


def train(context: cluster_spec.TaskContext, options: cluster_spec.TaskOptions, values: Any,
          train_chief: Callable[..., int], with_teacher: WithTeacher) -> int:
    """Train as a worker, or alone if there is no parameter server. Return the exit code."""
    train_setup = setup.prepare_training(values, context.task.is_chief)
    setup.check_sources(train_setup, context.task.is_chief)
    session_config = engines.prepare(train_setup.config)
    train_setup = with_teacher(train_setup, session_config)
    from permafrost.cluster import worker
    from permafrost.cluster.servers.admission import MissingTaskError
    if not context.spec.ps:
        return train_chief(train_setup, session_config)
    if train_setup.config.deterministic and options.mode == 'async':
        print('note: --deterministic does not make two asynchronous trainings equal: the order of '
              'their updates varies', flush=True)
    with contextlib.closing(worker.ClusterWorker(
            context, options, train_setup, session_config)) as strategy:
        try:
            strategy.join()
        except MissingTaskError:
            from permafrost.training.checkpoints.finding import last_step
            if train_setup.resume and is_done(train_setup):
                print(f'nothing to do: {printable(train_setup.run)} is at step '
                      f'{last_step(train_setup.run)}, and its servers have ended')
                return 0
            raise
        if context.task.is_chief:
            return train_chief(train_setup, session_config, strategy=strategy)
        return worker.train_worker(train_setup, session_config, strategy)


def is_done(train_setup: setup.TrainSetup) -> bool:
    """Return whether the run was trained to its end, and its tasks were told so.

    A run that ended early is done only for the same --steps and --patience.
    """
    from permafrost.training.checkpoints import finding
    run, config = train_setup.run, train_setup.config
    if runs.read_status(run).get('state') != 'done':
        return False
    before, _ = runs.read_config(run)
    return (finding.last_step(run) >= config.steps or
            config.patience > 0 and
            (before.steps, before.patience) == (config.steps, config.patience))


def evaluate_run(options: cluster_spec.TaskOptions, values: Any, evaluate: Evaluate) -> None:
    """Evaluate the run of the chief, which may not have started yet."""
    if not values.run and not values.resume:
        raise UsageError('the evaluator needs the --run of the chief: the newest run of '
                         f'{values.model} may be an earlier one')
    session_config = engines.prepare(values)
    deadline = time.monotonic() + options.wait_secs
    while True:
        run_dir = run_directory(values)
        if run_dir and runs.exists(run_dir):
            break
        if time.monotonic() > deadline:
            place = values.run or os.path.join(values.log_dir, values.model)
            raise UserError(f'no run in {place} after {options.wait_secs} s: give the evaluator '
                            'the --run of the chief, on a disk that both can read')
        time.sleep(POLL_SECS)
    if will_be_continued(run_dir, values.steps):
        print(f'waiting for {printable(run_dir)} to be continued to step {values.steps}',
              flush=True)
    while will_be_continued(run_dir, values.steps) and time.monotonic() < deadline:
        time.sleep(POLL_SECS)
    is_running = runs.is_running(run_dir)
    evaluate(run_dir, session_config,
             options.wait_secs if is_running else deadline - time.monotonic())
    status = runs.read_status(run_dir)
    if status.get('state') != 'done':
        raise UserError(f"the training in {printable(run_dir)} ended at step "
                        f"{status.get('step', 0)}, before its last: start the chief again, then "
                        'the evaluator')


def will_be_continued(run_dir: str, steps: Optional[int]) -> bool:
    """Return whether the chief has yet to start, to continue a run to `steps` (if given)."""
    from permafrost.training.checkpoints import finding
    if not steps or finding.last_step(run_dir) >= steps or runs.is_running(run_dir):
        return False
    # --patience may have ended it: nobody continues it to the steps that it had.
    is_done = runs.read_status(run_dir).get('state') == 'done'
    return not is_done or runs.read_config(run_dir)[0].steps < steps


def run_directory(values: Any) -> Optional[str]:
    """Return --run or, with --resume, the run that was used last, if there is one."""
    return setup.run_to_resume(values) if values.resume else values.run

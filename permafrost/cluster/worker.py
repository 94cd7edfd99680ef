"""Training as a worker of a cluster: variables on parameter servers, steps made by workers.

The chief is worker 0: it alone has the run directory, initializes, saves and logs summaries.
"""

import contextlib
import functools
import json
import os
import time
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.cluster import (
    cluster_spec, network, parameter_server, session_creators, sync_replicas, watchdog)
from permafrost.config import RESUMABLE, Config
from permafrost.errors import UserError, one_line
from permafrost.inputs import pipeline
from permafrost.training.checkpoints.hook import CheckpointHook
from permafrost.training.graph import build
from permafrost.training.hooks import LoggingHook, StopHook
from permafrost.training.setup import TrainSetup
from permafrost.training.signals import Signals
from permafrost.training.strategy import FinalHook, Hooks, Strategy

Batch = Tuple[tf.Tensor, tf.Tensor]  # images and labels
DRAIN_SECS = 8.  # for the chief to wait for the last updates of other workers
POLL_SECS = .2
LOOK_SECS = 5.  # between two looks at the run that the servers serve
REPORT_SECS = 10.  # between two lines about what this task waits for
NO_GRACE_SECS = 0.  # at the end of a session: closing it ends the thread that waits for a server


class ClusterWorker(Strategy):
    """This worker in its cluster. Close it after the training.

    Training calls `batches` and `update` while it builds the graph, then `session`, which needs
    what those two made: `_feed_hook` and `step`. `options` is a task.TaskOptions.
    """
    has_other_tasks = True

    def __init__(self, context: cluster_spec.TaskContext, options: Any, setup: TrainSetup,
                 session_config: tf.ConfigProto):
        self.spec, self.task, self.config = context.spec, context.task, setup.config
        self.dropout_seed_offset = pipeline.WORKER_SEED * self.task.index
        self.script, self.resume_arguments = resume_command()
        self._options = options
        self._sync = None if options.mode != 'sync' else sync_replicas.SyncReplicas(
            len(self.spec.workers), options.backup_workers, self.task.index)
        self._device = f'/job:worker/task:{self.task.index}'
        self._pipeline_config = session_config
        self._session_config = tf.ConfigProto(device_filters=['/job:ps', self._device])
        self._session_config.MergeFrom(session_config)
        self._server = parameter_server.start(self.spec, self.task, session_config)
        self.servers = parameter_server.Servers(self.spec, session_config)
        self._admission = session_creators.Admission(
            self.servers, self._server, self.spec, self.task,
            training_of(setup, options, self.spec), options.wait_secs, options.overwrite)
        if self.task.is_chief:
            saved = cluster_spec.load_cluster_json(setup.run) if setup.resume else {}
            self._admission.continue_lost = options.resume and not saved
            self._admission.claim = session_creators.claim_of(
                saved.get('run_id') or cluster_spec.new_run_id(),
                setup.run or os.path.join(setup.log_dir, self.config.model), self.config.model,
                self._admission.training)

    def join(self) -> None:
        """Wait until the servers have admitted this task; the chief claims them.

        This comes before all else, so that a task that is refused leaves no empty run behind.
        """
        self._admission.wait()
        self._admission.reset_outage()

    def device_scope(self) -> ContextManager[Any]:
        """Place variables on the servers, and everything else on this worker."""
        server_bytes = [0] * len(self.spec.ps)

        def lightest_server(op: tf.Operation) -> int:
            # All workers make the same variables in the same order, so they place them alike.
            index = server_bytes.index(min(server_bytes))
            shape = tf.TensorShape(op.get_attr('shape'))
            server_bytes[index] += (shape.num_elements() or 0) * op.get_attr('dtype').size
            return index

        setter = tf.train.replica_device_setter(
            len(self.spec.ps), worker_device=self._device, ps_strategy=lightest_server)

        def colocate(op: tf.Operation) -> str:
            """Return the device of the variable that `op` uses, if any."""
            for tensor in op.inputs:
                if tensor.dtype == tf.resource and tensor.op.type == 'VarHandleOp':
                    return tensor.op.device
            return setter(op)

        return tf.device(colocate)

    def variable_scope(self) -> ContextManager[Any]:
        """Read a trained variable once a step, however often it is used."""
        def read_once(getter: Callable[..., tf.Variable], *args: Any, **kwargs: Any) -> Any:
            variable = getter(*args, **kwargs)
            return variable.value() if kwargs.get('trainable', True) else variable

        return tf.variable_scope(tf.get_variable_scope(), custom_getter=read_once)

    def batches(self, dataset: Any, config: Config, global_step: tf.Tensor) -> Batch:
        """Return placeholders, which a pipeline of this process feeds."""
        index, count = self.task.index, len(self.spec.workers)

        def build_pipeline(step: tf.Tensor) -> Batch:
            if self._sync is None:
                return pipeline.training_batches(dataset, config, step // count, index)
            # A stream has no fixed order to split: each worker reads an order of its own.
            worker = index if config.source == 'stream' else 0
            return pipeline.training_batches(dataset, config, step, worker, self._sync.shard())

        self._feed_hook = FeedBatchesHook(build_pipeline, self._pipeline_config)
        images, labels = self._feed_hook.placeholders
        return images, labels

    def update(self, optimizer: tf.train.Optimizer, loss: tf.Tensor, averages: Optional[Any]
               ) -> Tuple[tf.Operation, tf.Tensor]:
        update = super().update if self._sync is None else self._sync.update
        operation, self.step = update(optimizer, loss, averages)
        self._feed_hook.step = self.step
        return operation, self.step

    @contextlib.contextmanager
    def session(self, run: Optional[str], saver: Optional[tf.train.Saver],
                hooks: List[tf.train.SessionRunHook], signals: Signals,
                session_config: Optional[tf.ConfigProto]) -> Iterator[tf.train.MonitoredSession]:
        """See Strategy.session. This task has a session_config of its own."""
        self._admission.signals = signals
        if run is not None:
            run_id = self._admission.claim['id']
            cluster_spec.save_cluster_json(
                run, self.spec, self._options.mode, self._options.backup_workers, run_id)
            self._admission.claim = session_creators.claim_of(
                run_id, run, self.config.model, self._admission.training)
        creator = session_creators.SessionCreator(
            target=self._server.target, config=self._session_config, admission=self._admission,
            run=run, saver=saver)
        others = self.spec.tasks() if self._sync else self.spec.servers()
        others.pop(str(self.task), None)
        with watchdog.Watchdog(self.spec.servers(), others, self._options.wait_secs) as watcher, \
                contextlib.closing(self._feed_hook):
            self.heartbeat = watcher.heartbeat
            self.finish_hook = FinishHook(self, self._admission, watcher, signals, run, hooks)
            hooks = [self._feed_hook, *hooks, self.finish_hook]
            if self._sync:
                hooks.insert(0, self._sync.hook())
            try:
                with tf.train.MonitoredSession(creator, hooks, NO_GRACE_SECS) as session:
                    yield session
                    self.finish_hook.leave()
            except (tf.errors.AbortedError, tf.errors.UnavailableError,
                    tf.errors.CancelledError) as error:
                raise UserError(f'lost a server ({one_line(error)}): start this task again')

    def release_others(self, session: tf.Session) -> None:
        """Wake workers that wait for the chief to make a step: it makes no more."""
        if self._sync is not None:
            self._sync.release_others(session, self.config.steps)

    def close(self) -> None:
        """Stop the server: TensorFlow 1.15 writes a stack trace if it lives at exit."""
        self.servers.close()
        self._server = self._admission.server = None


def resume_command() -> Tuple[str, Tuple[str, ...]]:
    """Return the script, and its flags, that continue the chief's run."""
    local_cluster = os.environ.get(cluster_spec.LOCAL_CLUSTER)
    if local_cluster:
        return 'tools/local_cluster.py', tuple(local_cluster.split())
    is_set = bool(os.environ.get('TF_CONFIG', '').strip())
    return 'train_cluster.py', () if is_set else ('--job_name=worker', '--task_index=0')


class FeedBatchesHook(tf.train.SessionRunHook):
    """Feeds `placeholders` from a pipeline with a session of its own, in this process.

    In the cluster's session, the queues of the pipeline would be resources of this task's server:
    if a lost server ends that session, they would be closed for the next session too.

    The argument of `build_pipeline` is the global step at which a session of the cluster starts.
    What does not advance the global step `step` is done again with the same batch: see SyncHook.
    """
    step: Optional[tf.Tensor] = None

    def __init__(self, build_pipeline: Callable[[tf.Tensor], Batch],
                 session_config: tf.ConfigProto):
        self._graph = tf.Graph()
        self._session: Any = None
        self._first_step = 0
        with self._graph.as_default():
            step = tf.py_func(lambda: np.int64(self._first_step), [], tf.int64)
            step.set_shape([])
            self._batch = build_pipeline(step)
            self._creator = tf.train.ChiefSessionCreator(config=session_config)
        self.placeholders = [tf.placeholder(tensor.dtype, tensor.shape) for tensor in self._batch]

    def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
        self.close()
        self._first_step = self._last_step = session.run(tf.train.get_global_step())
        self._again = False
        with self._graph.as_default():
            self._session = tf.train.MonitoredSession(self._creator)

    def before_run(self, run_context: tf.train.SessionRunContext) -> tf.train.SessionRunArgs:
        if not self._again:
            self._values = self._session.run(self._batch)
        return tf.train.SessionRunArgs(self.step, dict(zip(self.placeholders, self._values)))

    def after_run(self, unused_context: Any, run_values: Any) -> None:
        self._again = run_values.results == self._last_step
        self._last_step = run_values.results

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


class FinishHook(tf.train.SessionRunHook):
    """Ends the training together with the other tasks. It comes after the hook that saves.

    The chief lets the others finish their steps, saves and says so; the others wait for that.
    While this lasts, a lost server is waited for and the training goes on, as in any step.
    """

    def __init__(self, worker: ClusterWorker, admission: session_creators.Admission,
                 watcher: watchdog.Watchdog, signals: Signals, run: Optional[str],
                 hooks: List[tf.train.SessionRunHook]):
        self.saved = False  # the last step
        self._worker, self._admission, self._watcher = worker, admission, watcher
        self._servers, self._signals, self._run = worker.servers, signals, run
        self._save_hooks = [hook for hook in hooks if isinstance(hook, CheckpointHook)]
        self._final_hooks: Hooks = [hook for hook in hooks if isinstance(hook, FinalHook)]
        self._stop, = (hook for hook in hooks if isinstance(hook, StopHook))

    def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
        def ping() -> None:
            # If it fails, so does the step that waits, and a new session is created.
            with session.graph.as_default(), contextlib.suppress(tf.errors.OpError, RuntimeError):
                session.run(tf.train.get_global_step())

        self._watcher.emergency_save = functools.partial(self._emergency_save, session)
        self._watcher.ping = ping
        self._watcher.restart()
        self._last_look = time.monotonic()
        if self._run is not None:
            self._send('ready')
        self.finish(session, session.run(tf.train.get_global_step()))

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self._worker.step)

    def after_run(self, context: Any, values: Any) -> None:
        self._admission.reset_outage()
        self._watcher.heartbeat()
        self._follow_chief()
        if self._stop.reason:
            context.request_stop()
        self.finish(context.session, values.results)

    def _follow_chief(self) -> None:
        """Let a worker notice that the chief has ended the training before its last step.

        Raises UnavailableError if the servers were given to another run: see --overwrite. Only a
        worker can find this: a chief is refused while another one of the cluster runs.
        """
        now = time.monotonic()
        if self._run is None and now - self._last_look > LOOK_SECS:
            self._last_look = now
            states = self._states()
            if any(state.run['id'] != self._admission.run_id for state in states if state.run):
                raise tf.errors.UnavailableError(None, None, 'the servers serve another run')
            if any(state.saved for state in states):
                self._stop.reason = 'the chief has ended the training'

    def leave(self) -> None:
        """Note that the training has left its loop: it may still have to save after a signal."""
        if not self.saved:
            self._watcher.enter(watchdog.State.NOTIFYING if self._run is None else
                                watchdog.State.SAVING)

    def _emergency_save(self, session: tf.Session) -> None:
        for hook in self._save_hooks:
            hook.emergency_save(session)

    def _send(self, kind: str) -> None:
        run_id = self._admission.run_id
        self._servers.send(kind, id=run_id, worker=self._worker.task.index)

    def finish(self, session: tf.Session, step: int) -> None:
        """End the training if `step` is the last. Raises UnavailableError if a server is lost."""
        if self._signals.code or (step < self._worker.config.steps and not self._stop.reason):
            return
        if self._run is None:
            self._wait_for_chief(step)
        else:
            self._save(session)

    def _save(self, session: tf.Session) -> None:
        self._watcher.enter(watchdog.State.SAVING)
        if not self._stop.reason:
            self._wait_for_others()
        with session.graph.as_default():
            for hook in (*self._save_hooks, *self._final_hooks):
                hook.end(session)
        self._watcher.enter(watchdog.State.NOTIFYING)
        with contextlib.suppress(tf.errors.UnavailableError):  # all is saved
            self._send('saved')
        if self._stop.reason:
            with contextlib.suppress(tf.errors.OpError):
                self._worker.release_others(session)
        self.saved = True
        self._watcher.emergency_save = functools.partial(
            runs.write_status, self._run, state='done')
        self._watcher.enter(watchdog.State.CLOSING)

    def _wait_for_others(self) -> None:
        """Let the other workers finish the steps that they are making, for some seconds."""
        others = set(range(1, len(self._worker.spec.workers)))
        deadline = time.monotonic() + DRAIN_SECS
        while not self._signals.code and time.monotonic() < deadline:
            for state in self._states():
                others = others - {*state.finished}
            if not any(network.is_listening(self._worker.spec.workers[index]) for index in others):
                return
            time.sleep(POLL_SECS)

    def _wait_for_chief(self, step: int) -> None:
        """Wait until the chief has saved. Raises UserError after wait_secs."""
        self._watcher.enter(watchdog.State.NOTIFYING)
        self._send('finished')
        chief = f'worker 0 ({self._worker.spec.workers[0]}), the chief,'
        start = last_report = time.monotonic()
        while not self._signals.code:
            states = self._states()
            if any(state.saved for state in states):
                with contextlib.suppress(tf.errors.UnavailableError):  # the server has ended
                    self._send('left')
                self.saved = True
                self._watcher.enter(watchdog.State.CLOSING)
                return
            if not all(state.ready for state in states):
                raise tf.errors.UnavailableError(None, None, 'the chief restores a checkpoint')
            now = time.monotonic()
            if now - start > self._admission.wait_secs:
                raise UserError(f'{chief} has not saved step {step} within {now - start:.0f} s: '
                                'start it, then this task again')
            if now - last_report > REPORT_SECS:
                last_report = now
                print(f'waiting: {chief} has not saved step {step} yet', flush=True)
            time.sleep(POLL_SECS)

    def _states(self) -> List[parameter_server.ServerState]:
        states = self._servers.states()
        if None in states:
            raise tf.errors.UnavailableError(None, None, 'a server has just started')
        return states


def training_of(setup: TrainSetup, options: Any, spec: cluster_spec.ClusterSpec) -> Dict[str, Any]:
    """Return what is equal for all workers that train the same, as json has it."""
    value = {name: field for name, field in setup.config.to_json().items()
             if name == 'steps' or name not in RESUMABLE}
    value.update(value.pop('recipe'), recipe=setup.config.recipe.name, mode=options.mode,
                 backup_workers=options.backup_workers, workers=len(spec.workers),
                 dataset_identity=setup.dataset.identity)
    return json.loads(json.dumps(value))


def train_worker(setup: TrainSetup, session_config: tf.ConfigProto, worker: ClusterWorker) -> int:
    """Train as a worker that is not the chief, and return the exit code."""
    config = setup.config
    with Signals() as signals, tf.Graph().as_default(), worker.device_scope():
        graph = build(config, setup.dataset, worker, session_config)
        hooks = [LoggingHook(graph, config, None), StopHook(graph.step, config.steps, signals)]
        with worker.session(None, None, hooks, signals, session_config) as session:
            while not session.should_stop():
                session.run(graph.train)
    if signals.code:
        print(f'stopped by {signals.name}', flush=True)
        return signals.code
    if not worker.finish_hook.saved:
        raise UserError('the training ended before its last step: start this task again')
    print('done', flush=True)
    return 0

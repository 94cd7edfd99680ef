"""Training as a worker of a cluster: variables on parameter servers, steps made by workers.

The chief is worker 0: it alone has the run directory, initializes, saves and logs summaries.
"""

import contextlib
import functools
import json
import time
import zlib
from typing import Any, Callable, ContextManager, Iterator, List, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.cluster import (
    cluster_spec, network, parameter_server, session_creators, sync_replicas, watchdog)
from permafrost.config import RESUMABLE, Config
from permafrost.errors import UserError, one_line
from permafrost.inputs import pipeline
from permafrost.training import checkpoints
from permafrost.training.graph import build
from permafrost.training.hooks import LoggingHook, StopHook
from permafrost.training.setup import TrainSetup
from permafrost.training.signals import Signals
from permafrost.training.strategy import Strategy

Batch = Tuple[tf.Tensor, tf.Tensor]  # images and labels
DRAIN_SECS = 8.  # for the chief to wait for the last updates of other workers
GRACE_SECS = 2.  # at the end of a session, for threads that wait on a queue of a server


class ClusterWorker(Strategy):
    """This worker in its cluster. Close it after the training.

    Training calls `batches` and `update` while it builds the graph, then `session`, which needs
    what those two made: `_feed_hook` and `_identity_variable`. `options` is a task.TaskOptions.
    """
    script = 'train_cluster.py'
    has_other_tasks = True

    def __init__(self, context: cluster_spec.TaskContext, options: Any, config: Config,
                 session_config: tf.ConfigProto):
        self.spec, self.task, self.config = context.spec, context.task, config
        self.dropout_seed_offset = pipeline.WORKER_SEED * self.task.index
        self._options = options
        self._sync = None if options.mode != 'sync' else sync_replicas.SyncReplicas(
            len(self.spec.workers), options.backup_workers, self.task.is_chief)
        self._device = f'/job:worker/task:{self.task.index}'
        self._pipeline_config = session_config
        self._session_config = tf.ConfigProto(device_filters=['/job:ps', self._device])
        self._session_config.MergeFrom(session_config)
        self._server = parameter_server.start(self.spec, self.task, session_config)

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
            return pipeline.training_batches(dataset, config, step, worker, self._sync.shard(index))

        self._feed_hook = FeedBatchesHook(build_pipeline, self._pipeline_config)
        images, labels = self._feed_hook.placeholders
        return images, labels

    def update(self, optimizer: tf.train.Optimizer, loss: tf.Tensor, averages: Optional[Any]
               ) -> Tuple[tf.Operation, tf.Tensor]:
        self._identity_variable = tf.get_variable(
            'cluster_identity', [2], tf.int64, trainable=False,
            initializer=tf.zeros_initializer(), collections=['cluster'])
        update = super().update if self._sync is None else self._sync.update
        return update(optimizer, loss, averages)

    @contextlib.contextmanager
    def session(self, run: Optional[str], saver: Optional[tf.train.Saver],
                hooks: List[tf.train.SessionRunHook], signals: Signals,
                session_config: Optional[tf.ConfigProto]) -> Iterator[tf.train.MonitoredSession]:
        """See Strategy.session. This task has a session_config of its own."""
        run_id = 0 if run is None else cluster_spec.save_cluster_json(
            run, self.spec, self._options.mode, self._options.backup_workers)
        creator = session_creators.SessionCreator(
            target=self._server.target, config=self._session_config, servers=self.spec.servers(),
            variable=self._identity_variable, run_id=run_id,
            config_hash=config_hash(self.config, self._options, self.spec),
            wait_secs=self._options.wait_secs, signals=signals, run=run, saver=saver)
        others = self.spec.tasks() if self._sync else self.spec.servers()
        others.pop(str(self.task), None)
        with watchdog.Watchdog(others, self._options.wait_secs) as watcher, \
                contextlib.closing(self._feed_hook):
            hooks = [self._feed_hook, *hooks, ReportHook(self, creator, watcher, hooks)]
            if self._sync:
                hooks.insert(0, self._sync.hook())
            try:
                with tf.train.MonitoredSession(creator, hooks, GRACE_SECS) as session:
                    yield session
                    self._drain_workers(watcher, signals)
            except (tf.errors.AbortedError, tf.errors.UnavailableError) as error:
                raise UserError(f'lost a server while ending ({one_line(error)}): the last '
                                'checkpoint is kept; start the cluster again with --resume')

    def _drain_workers(self, watcher: watchdog.Watchdog, signals: Signals) -> None:
        """Let the chief wait, after the last step, for the steps that other workers are making."""
        if not self.task.is_chief:
            return watcher.enter(watchdog.State.NOTIFYING)
        watcher.enter(watchdog.State.SAVING)
        deadline = time.time() + DRAIN_SECS
        while not signals.code and time.time() < deadline and any(
                map(network.is_reachable, self.spec.workers[1:])):
            time.sleep(.1)

    def close(self) -> None:
        """Stop the server: TensorFlow 1.15 writes a stack trace if it lives at exit."""
        self._server = None


class FeedBatchesHook(tf.train.SessionRunHook):
    """Feeds `placeholders` from a pipeline with a session of its own, in this process.

    In the cluster's session, the queues of the pipeline would be resources of this task's server:
    if a lost server ends that session, they would be closed for the next session too.

    The argument of `build_pipeline` is the global step at which a session of the cluster starts.
    """

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
        self._first_step = session.run(tf.train.get_global_step())
        with self._graph.as_default():
            self._session = tf.train.MonitoredSession(self._creator)

    def before_run(self, run_context: tf.train.SessionRunContext) -> tf.train.SessionRunArgs:
        batch = self._session.run(self._batch)
        return tf.train.SessionRunArgs(None, dict(zip(self.placeholders, batch)))

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


class ReportHook(tf.train.SessionRunHook):
    """Tells others where the training is. It comes after the hook that saves.

    The session creator and the watchdog learn of each step, and the watchdog how to save; every
    server learns after the last step that this worker is done.
    """

    def __init__(self, worker: ClusterWorker, creator: session_creators.SessionCreator,
                 watcher: watchdog.Watchdog, hooks: List[tf.train.SessionRunHook]):
        self._worker, self._creator, self._watcher = worker, creator, watcher
        self._save_hooks = [hook for hook in hooks if isinstance(hook, checkpoints.CheckpointHook)]
        self._notify = [parameter_server.done_queue(i).enqueue(worker.task.index)
                        for i in range(len(worker.spec.ps))]

    def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
        def emergency_save() -> None:
            for hook in self._save_hooks:
                hook.emergency_save(session)

        def ping() -> None:
            # If it fails, so does the step that waits, and a new session is created.
            with session.graph.as_default(), contextlib.suppress(tf.errors.OpError, RuntimeError):
                session.run(tf.train.get_global_step())

        self._watcher.emergency_save, self._watcher.ping = emergency_save, ping
        self._watcher.heartbeat()

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self._creator.reset_outage()
        self._watcher.heartbeat()

    def end(self, session: tf.Session) -> None:
        self._watcher.enter(watchdog.State.NOTIFYING)
        if session.run(tf.train.get_global_step()) < self._worker.config.steps:
            return
        for notify in self._notify:
            with contextlib.suppress(tf.errors.OpError):  # that server is gone already
                session.run(notify)
        if self._creator.run:
            self._watcher.emergency_save = functools.partial(
                runs.write_status, self._creator.run, state='done')
        self._watcher.enter(watchdog.State.CLOSING)


def config_hash(config: Config, options: Any, spec: cluster_spec.ClusterSpec) -> int:
    """Return a number that is equal for all workers that train the same."""
    value = {name: field for name, field in config.to_json().items()
             if name == 'steps' or name not in RESUMABLE}
    value.update(mode=options.mode, backup_workers=options.backup_workers,
                 workers=len(spec.workers))
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def train_worker(setup: TrainSetup, session_config: tf.ConfigProto, worker: ClusterWorker) -> int:
    """Train as a worker that is not the chief, and return the exit code."""
    config = setup.config
    with Signals('ending after this step; again to exit at once') as signals, \
            tf.Graph().as_default(), worker.device_scope():
        graph = build(config, setup.dataset, worker, session_config)
        hooks = [LoggingHook(graph, config, None), StopHook(graph.step, config.steps, signals)]
        with worker.session(None, None, hooks, signals, session_config) as session:
            while not session.should_stop():
                session.run(graph.train)
    print('stopped' if signals.code else 'done', flush=True)
    return signals.code

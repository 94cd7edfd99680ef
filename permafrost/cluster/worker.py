"""Training as a worker of a cluster: variables on parameter servers, steps made by workers.

The chief is worker 0: it alone has the run directory, initialises, saves and logs summaries.
"""

import contextlib
import dataclasses
import json
import time
import zlib
from typing import Any, Callable, Iterator, List, Optional, Tuple

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
from permafrost.training.hooks import progress_hooks
from permafrost.training.setup import TrainSetup
from permafrost.training.signals import Signals
from permafrost.training.strategy import Strategy

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
        self.spec, self.task = context.spec, context.task
        self.dropout_seed_offset = pipeline.WORKER_SEED * self.task.index
        self._options = options
        self._config = config
        self._sync = None if options.mode != 'sync' else sync_replicas.SyncReplicas(
            len(self.spec.workers), options.backup_workers, self.task.is_chief)
        self._feed_hook: Optional[FeedBatchesHook] = None
        self._identity_variable: Optional[tf.Variable] = None
        self._device = f'/job:worker/task:{self.task.index}'
        self._pipeline_config = session_config
        self._session_config = tf.ConfigProto()
        self._session_config.CopyFrom(session_config)
        self._session_config.device_filters.extend(['/job:ps', self._device])
        self._server = parameter_server.start(self.spec, self.task, session_config)

    @contextlib.contextmanager
    def device_scope(self) -> Iterator[None]:
        """Place variables on the servers, and everything else on this worker."""
        setter = tf.train.replica_device_setter(
            ps_tasks=len(self.spec.ps), worker_device=self._device,
            ps_strategy=GreedyLoadBalancingStrategy(len(self.spec.ps)))

        def colocate(op: tf.Operation) -> str:
            """Return the device of the variable that `op` uses, if any."""
            for tensor in op.inputs:
                if tensor.dtype == tf.resource and tensor.op.type == 'VarHandleOp':
                    return tensor.op.device
            return setter(op)

        with tf.device(colocate):
            yield

    @contextlib.contextmanager
    def variable_scope(self) -> Iterator[None]:
        """Read a trained variable once a step, however often it is used."""
        def read_once(getter: Callable[..., tf.Variable], *args: Any, **kwargs: Any) -> Any:
            variable = getter(*args, **kwargs)
            return variable.value() if kwargs.get('trainable', True) else variable

        with tf.variable_scope(tf.get_variable_scope(), custom_getter=read_once):
            yield

    def batches(self, dataset: Any, config: Config, global_step: tf.Tensor
                ) -> Tuple[tf.Tensor, tf.Tensor]:
        """Return placeholders, which a pipeline of this process feeds."""
        index, count = self.task.index, len(self.spec.workers)

        def build_pipeline(step: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor]:
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
        creator = self._session_creator(run, saver, signals)
        others = self.spec.tasks() if self._sync else self.spec.servers()
        others.pop(self.task.name, None)
        with watchdog.Watchdog(others, self._options.wait_secs) as watcher, \
                contextlib.closing(self._feed_hook):
            hooks = [self._feed_hook, HeartbeatHook(creator, watcher, hooks),
                     DrainWorkersHook(self, watcher, signals), *hooks,
                     NotifyServersHook(self, watcher, run, self._config.steps)]
            if self._sync:
                hooks.insert(0, self._sync.hook())
            try:
                with tf.train.MonitoredSession(creator, hooks, GRACE_SECS) as session:
                    yield session
            except (tf.errors.AbortedError, tf.errors.UnavailableError) as error:
                raise UserError(f'lost a server while ending ({one_line(error)}): the last '
                                'checkpoint is kept; start the cluster again with --resume')

    def _session_creator(self, run: Optional[str], saver: Optional[tf.train.Saver],
                         signals: Signals) -> session_creators.SessionCreator:
        creator, run_id = session_creators.WorkerSessionCreator, 0
        if run is not None:
            creator = session_creators.ChiefSessionCreator
            run_id = cluster_spec.save_cluster_json(run, self.spec, self._options.mode,
                                                    self._options.backup_workers)
        hashed = config_hash(self._config, self._options, self.spec)
        return creator(
            target=self._server.target, config=self._session_config, servers=self.spec.servers(),
            variable=self._identity_variable, identity=session_creators.Identity(hashed, run_id),
            wait_secs=self._options.wait_secs, signals=signals, run=run, saver=saver)

    def close(self) -> None:
        """Stop the server: TensorFlow 1.15 writes a stack trace if it lives at exit."""
        self._server = None


class GreedyLoadBalancingStrategy:
    """A ps_strategy of tf.train.replica_device_setter: a variable goes to the server with the
    fewest bytes so far. All workers make the same variables, so they place them alike."""

    def __init__(self, num_servers: int):
        self._bytes = [0] * num_servers

    def __call__(self, op: tf.Operation) -> int:
        shape = tf.TensorShape(op.get_attr('shape'))
        index = self._bytes.index(min(self._bytes))
        self._bytes[index] += (shape.num_elements() or 0) * op.get_attr('dtype').size
        return index


class FeedBatchesHook(tf.train.SessionRunHook):
    """Feeds `placeholders` from a pipeline with a session of its own, in this process.

    In the cluster's session, the queues of the pipeline would be resources of this task's server:
    if a lost server ends that session, they would be closed for the next session too.

    `build_pipeline` returns images and labels in the default graph. Its argument, a scalar tensor,
    is the global step at which a session of the cluster starts.
    """

    def __init__(self, build_pipeline: Callable[[tf.Tensor], Tuple[tf.Tensor, tf.Tensor]],
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


@dataclasses.dataclass(eq=False)
class HeartbeatHook(tf.train.SessionRunHook):
    """Tells the session creator and the watchdog of each step, and the watchdog how to save."""
    creator: session_creators.SessionCreator
    watcher: watchdog.Watchdog
    training_hooks: List[tf.train.SessionRunHook]

    def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
        def emergency_save() -> None:
            for hook in self.training_hooks:
                if isinstance(hook, checkpoints.CheckpointHook):
                    hook.emergency_save(session)

        def ping() -> None:
            # If it fails, so does the step that waits, and a new session is created.
            with session.graph.as_default(), contextlib.suppress(tf.errors.OpError, RuntimeError):
                session.run(tf.train.get_global_step())

        self.watcher.emergency_save, self.watcher.ping = emergency_save, ping
        self.watcher.heartbeat()

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self.creator.reset_outage()
        self.watcher.heartbeat()


@dataclasses.dataclass(eq=False)
class DrainWorkersHook(tf.train.SessionRunHook):
    """Lets the chief wait, after the last step, for the steps that other workers are making."""
    worker: ClusterWorker
    watcher: watchdog.Watchdog
    signals: Signals

    def end(self, session: tf.Session) -> None:
        is_chief = self.worker.task.is_chief
        self.watcher.begin_shutdown(saves=is_chief)
        others = self.worker.spec.workers[1:] if is_chief else ()
        deadline = time.time() + DRAIN_SECS
        while not self.signals.code and time.time() < deadline and any(
                map(network.is_reachable, others)):
            time.sleep(.1)


@dataclasses.dataclass(eq=False)
class NotifyServersHook(tf.train.SessionRunHook):
    """Tells every server, after the last step and after saving, that this worker is done."""
    worker: ClusterWorker
    watcher: watchdog.Watchdog
    run: Optional[str]  # run directory; None for a worker that is not the chief
    last_step: int

    def __post_init__(self) -> None:
        self._notify = [parameter_server.done_queue(i).enqueue(self.worker.task.index)
                        for i in range(len(self.worker.spec.ps))]

    def end(self, session: tf.Session) -> None:
        self.watcher.mark_saved()
        if session.run(tf.train.get_global_step()) >= self.last_step:
            for notify in self._notify:
                with contextlib.suppress(tf.errors.OpError):  # that server is gone already
                    session.run(notify)
            self.watcher.finish(self._record_end)

    def _record_end(self) -> None:
        if self.run:
            runs.write_status(self.run, state='done')


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
        hooks = progress_hooks(
            graph, config, signals, lambda step: checkpoints.nan_error(config, None, step))
        with worker.session(None, None, list(hooks), signals, session_config) as session:
            while not session.should_stop():
                session.run(graph.train)
    print('stopped' if signals.code else 'done', flush=True)
    return signals.code

"""Training as a worker of a cluster: variables on parameter servers, steps made by workers.

The chief is worker 0: it alone has the run directory, initializes, saves and logs summaries.
"""

import contextlib
import json
import os
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Tuple

import tensorflow.compat.v1 as tf

from permafrost.cluster import cluster_spec, sync_replicas, watchdog
from permafrost.cluster.hooks.feed_batches import FeedBatchesHook
from permafrost.cluster.hooks.finish import FinishHook
from permafrost.cluster.servers import admission, grpc_server
from permafrost.cluster.servers.client import Servers
from permafrost.cluster.session_creator import SessionCreator
from permafrost.config import RESUMABLE, Config
from permafrost.datasets.loading import Dataset
from permafrost.errors import UserError, one_line
from permafrost.inputs import pipeline
from permafrost.training.checkpoints import saving
from permafrost.training.graph import build
from permafrost.training.hooks import LoggingHook, StopHook
from permafrost.training.setup import TrainSetup
from permafrost.training.signals import Signals
from permafrost.training.strategy import Batch, Gradients, Strategy, Update

NO_GRACE_SECS = 0.  # at the end of a session: closing it ends the thread that waits for a server


class ClusterWorker(Strategy):
    """This worker in its cluster. Close it after the training.

    Training calls `batches` and `update` while it builds the graph, then `session`, which needs
    what those two made: `_feed_hook` and `step`.
    """
    has_other_tasks = True

    def __init__(self, context: cluster_spec.TaskContext, options: cluster_spec.TaskOptions,
                 setup: TrainSetup, session_config: tf.ConfigProto):
        self.spec, self.task, self.config = context.spec, context.task, setup.config
        self.dropout_seed_offset = pipeline.WORKER_SEED * self.task.index
        self.script, self.resume_arguments = resume_command(options.allow_public)
        self._options = options
        self._sync = None if options.mode != 'sync' else sync_replicas.SyncReplicas(
            len(self.spec.workers), options.backup_workers, self.task.index)
        self._device = f'/job:worker/task:{self.task.index}'
        self._pipeline_config = session_config
        self._session_config = tf.ConfigProto(device_filters=['/job:ps', self._device])
        self._session_config.MergeFrom(session_config)
        if setup.config.recipe.compute_dtype == 'bfloat16':
            # Remapping fuses convolutions into operations that a server refuses in bfloat16.
            rewrites = self._session_config.graph_options.rewrite_options
            rewrites.remapping = rewrites.OFF
        self._server = grpc_server.start(self.spec, self.task, session_config)
        self.servers = Servers(self.spec, session_config)
        self._admission = admission.Admission(
            self.servers, self._server, self.spec, self.task,
            shared_settings(setup, options, self.spec), options.wait_secs, options.overwrite)
        if self.task.is_chief:
            saved = cluster_spec.load_cluster_json(setup.run) if setup.resume else {}
            self._admission.continue_lost = options.resume and not saved
            self._admission.claim = admission.claim_of(
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
                while tensor.op.type == 'Switch':  # the way into a branch of tf.cond
                    tensor = tensor.op.inputs[0]
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

    def batches(self, dataset: Dataset, config: Config, global_step: tf.Tensor,
                teach: Optional[pipeline.Teach] = None) -> Batch:
        """Return placeholders, which a pipeline of this process feeds."""
        index, count = self.task.index, len(self.spec.workers)

        def build_pipeline(step: tf.Tensor) -> Batch:
            if self._sync is None:
                return pipeline.training_batches(dataset, config, step // count, index, teach=teach)
            # A stream has no fixed order to split: each worker reads an order of its own.
            worker = index if config.source == 'stream' else 0
            return pipeline.training_batches(dataset, config, step, worker, self._sync.shard(),
                                             teach)

        self._feed_hook = FeedBatchesHook(build_pipeline, self._pipeline_config,
                                          is_sync=self._sync is not None)
        return tuple(self._feed_hook.placeholders)

    def update(self, optimizer: tf.train.Optimizer, gradients: Gradients, averages: Any) -> Update:
        update = super().update if self._sync is None else self._sync.update
        operation, self.step = update(optimizer, gradients, averages)
        self._feed_hook.step = self.step
        return operation, self.step

    @property
    def others_know(self) -> bool:
        return self.finish_hook.saved

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
            self._admission.claim = admission.claim_of(
                run_id, run, self.config.model, self._admission.training)
        creator = SessionCreator(
            target=self._server.target, config=self._session_config, admission=self._admission,
            run=run, saver=saver)
        others = self.spec.tasks() if self._sync else self.spec.servers()
        others.pop(str(self.task), None)
        waits_for_chief = self._sync is not None and run is None
        with watchdog.Watchdog(self.spec.servers(), others, self._options.wait_secs,
                               waits_for_chief) as watcher, contextlib.closing(self._feed_hook):
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


def resume_command(allow_public: bool = False) -> Tuple[str, Tuple[str, ...]]:
    """Return the script, and its flags, that continue the chief's run."""
    local_cluster = os.environ.get(cluster_spec.LOCAL_CLUSTER)
    if local_cluster:
        return 'tools/local_cluster.py', tuple(local_cluster.split())
    is_set = bool(os.environ.get('TF_CONFIG', '').strip())
    task = () if is_set else ('--job_name=worker', '--task_index=0')
    return 'train_cluster.py', (*task, *(['--allow_public'] if allow_public else []))


def shared_settings(setup: TrainSetup, options: cluster_spec.TaskOptions,
                    spec: cluster_spec.ClusterSpec) -> Dict[str, Any]:
    """Return what is equal for all workers that train the same, as json has it."""
    value = {name: field for name, field in setup.config.to_json().items()
             if name == 'steps' or name not in (*RESUMABLE, 'earlier_compute_dtype')}
    value.update(value.pop('recipe'), recipe=setup.config.recipe.name, mode=options.mode,
                 backup_workers=options.backup_workers, workers=len(spec.workers),
                 dataset_identity=setup.dataset.identity)
    if setup.teacher:
        value['teacher'] = setup.teacher.sha256  # each task may have it at another place
    return json.loads(json.dumps(value))


def train_worker(setup: TrainSetup, session_config: tf.ConfigProto, worker: ClusterWorker) -> int:
    """Train as a worker that is not the chief, and return the exit code."""
    config = setup.config
    with Signals() as signals, tf.Graph().as_default(), worker.device_scope():
        graph = build(config, setup.dataset, worker, session_config, teacher=setup.teacher)
        hooks = [LoggingHook(graph, config, None), StopHook(graph.step, config.steps, signals)]
        with saving.unwrap_user_errors(), \
                worker.session(None, None, hooks, signals, session_config) as session:
            while not session.should_stop():
                session.run(graph.train)
    if signals.code:
        print(f'stopped by {signals.name}', flush=True)
        return signals.code
    if not worker.finish_hook.saved:
        raise UserError('the training ended before its last step: start this task again')
    print('done', flush=True)
    return 0

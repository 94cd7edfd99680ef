"""Training on many machines: variables on parameter servers, steps made by workers.

The chief is worker 0: it alone has the run directory, initialises, saves and logs. Nothing else
differs from training on one machine; see training.Local for what that asks of a cluster.
"""

import contextlib
import json
import time
import zlib

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.cluster import (cluster_spec,
    network,
    parameter_server,
    session_creators,
    sync_replicas,
    watchdog)
from permafrost.config import RESUMABLE
from permafrost.errors import UserError
from permafrost.inputs import pipeline
from permafrost.training import checkpoints, hooks
from permafrost.training.graph import build
from permafrost.training.signals import Signals
from permafrost.training.strategy import Strategy

LAST_SECS = 8.  # that the chief waits for other workers' last updates
GRACE_SECS = 2.  # for threads that wait on a queue of a server, at the end of a session


class ClusterWorker(Strategy):
    """This worker in its cluster; the interface is that of training.Local.

    Args:
      place: a spec.Place whose task is a worker.
      options: an Options.
      config: the Config, which must be that of every worker.
      session_config: a tf.ConfigProto.
    """
    script = 'train_cluster.py'
    has_other_tasks = True

    def __init__(self, place, options, config, session_config):
        self.spec, self.task = place.spec, place.task
        self._options = options
        self._config = config
        self.sync = sync_replicas.SyncReplicas(len(self.spec.workers), options.backup_workers,
                              self.task.is_chief) if options.mode == 'sync' else None
        self.dropout_seed_offset = pipeline.WORKER_SEED * self.task.index
        self.device = '/job:worker/task:%d' % self.task.index
        self.server = parameter_server.start(self.spec, self.task, session_config)
        self._session_config = tf.ConfigProto()
        self._session_config.CopyFrom(session_config)
        self._session_config.device_filters.extend(['/job:ps', self.device])
        self._pipeline_config = session_config

    @contextlib.contextmanager
    def device_scope(self):
        """Context in which variables go to the servers, and all else to this worker."""
        setter = tf.train.replica_device_setter(
            ps_tasks=len(self.spec.ps), worker_device=self.device,
            ps_strategy=GreedyLoadBalancingStrategy(len(self.spec.ps)))

        def beside(op):
            for tensor in op.inputs:
                if tensor.dtype == tf.resource and tensor.op.type == 'VarHandleOp':
                    return tensor.op.device
            return setter(op)

        with tf.device(beside):
            yield

    @contextlib.contextmanager
    def variable_scope(self):
        """Context in which a trained variable is read once a step, however often it is used."""
        def read(getter, *arguments, **options):
            variable = getter(*arguments, **options)
            return variable.value() if options.get('trainable', True) else variable

        with tf.variable_scope(tf.get_variable_scope(), custom_getter=read):
            yield

    def batches(self, dataset, config, step):
        """Placeholders of a batch, which `session` has fed from a pipeline of this process."""
        del step  # each session asks for it
        self._feed = FeedBatchesHook(lambda step: self._pipeline(dataset, config, step),
                          self._pipeline_config)
        return self._feed.placeholders

    def _pipeline(self, dataset, config, step):
        """The images and labels of this worker from global step `step` on."""
        index, count = self.task.index, len(self.spec.workers)
        if self.sync is None:
            return pipeline.training_batches(dataset, config, step // count, index)
        # Streams have no order that could be parted: each worker draws of its own.
        return pipeline.training_batches(dataset, config, step,
                                       index if config.source == 'stream' else 0,
                                       self.sync.part(index))

    def update(self, optimizer, loss, averages):
        """See training.Local."""
        self.identity = tf.get_variable('cluster_identity', [2], tf.int64, trainable=False,
                                        initializer=tf.zeros_initializer(),
                                        collections=['cluster'])
        if self.sync is None:
            return super().update(optimizer, loss, averages)
        return self.sync.update(optimizer, loss, averages)

    @contextlib.contextmanager
    def session(self, run, saver, hooks_, signals, session_config):
        """See training.Local; `run` and `saver` are None for all but the chief."""
        del session_config  # this task's, without device filters
        expected = [_fingerprint(self._config, self._options, self.spec), 0]
        servers = {name: address for name, address in self.spec.tasks().items()
                   if name.startswith('ps')}
        creator, arguments = session_creators.WorkerSessionCreator, ()
        if self.task.is_chief:
            expected[1] = self._remember(run)
            creator, arguments = session_creators.ChiefSessionCreator, (run, saver)
        creator = creator(*arguments, self.server.target, self._session_config, servers,
                          self.identity, expected, self._options.wait_secs, signals)
        others = dict(servers, **(self.spec.tasks() if self.sync else {}))
        others.pop(str(self.task).replace(' (chief)', ''), None)
        with watchdog.Watchdog(others, self._options.wait_secs) as watcher, \
                contextlib.closing(self._feed):
            found = [self._feed, HeartbeatHook(creator, watcher, run, hooks_),
                     DrainWorkersHook(self, signals, watcher)] + hooks_ + [
                         NotifyServersHook(self, watcher, run, self._config.steps)]
            if self.sync:
                found.insert(0, self.sync.hook())
            try:
                with tf.train.MonitoredSession(creator, found, GRACE_SECS) as session:
                    yield session
            except (tf.errors.AbortedError, tf.errors.UnavailableError) as error:
                raise UserError(
                    'lost a server while ending (%s): the last checkpoint is kept; start the '
                    'cluster again with --resume' % ' '.join(str(error).split())[:200])

    def _remember(self, run):
        """Writes cluster.json; returns the number that tells this run from others."""
        number = cluster_spec.load_cluster_json(run).get('number') or int(time.time() * 1e6)
        cluster_spec.save_cluster_json(run, self.spec, number=number, mode=self._options.mode,
                      backup_workers=self._options.backup_workers)
        return number

    def close(self):
        """Stops the server: at the interpreter's exit 1.15 would write a stack trace."""
        self.server = None

    def others(self):
        """{name: address} of the workers but this."""
        return {'worker %d' % i: address for i, address in enumerate(self.spec.workers)
                if i != self.task.index}


class GreedyLoadBalancingStrategy:
    """A strategy of tf.train.replica_device_setter: a variable goes to the server with the
    fewest bytes so far. Every worker comes to the same, as all make the same variables."""

    def __init__(self, servers):
        self.bytes = [0] * servers

    def __call__(self, op):
        shape = tf.TensorShape(op.get_attr('shape'))
        index = self.bytes.index(min(self.bytes))
        self.bytes[index] += (shape.num_elements() or 0) * op.get_attr('dtype').size
        return index


class FeedBatchesHook(tf.train.SessionRunHook):
    """Feeds batches from a pipeline that has a session of its own, in this process.

    In the session of the cluster its queues would be resources of this task's server: closed when
    a session ends because a server was lost, and closed still for the session after it.

    `build(step)` makes images and labels in the default graph; the tensor `step` is the global
    step at which a session of the cluster starts.
    """

    def __init__(self, build, session_config):
        self._graph = tf.Graph()
        self._session = None
        with self._graph.as_default():
            step = tf.py_func(lambda: np.int64(self._step), [], tf.int64)
            step.set_shape([])
            self._batch = build(step)
            self._creator = tf.train.ChiefSessionCreator(config=session_config)
        self.placeholders = [tf.placeholder(tensor.dtype, tensor.shape) for tensor in self._batch]

    def after_create_session(self, session, unused_coord):
        self.close()
        self._step = session.run(tf.train.get_global_step())
        with self._graph.as_default():
            self._session = tf.train.MonitoredSession(self._creator)

    def before_run(self, unused_context):
        batch = self._session.run(self._batch)
        return tf.train.SessionRunArgs(None, dict(zip(self.placeholders, batch)))

    def close(self):
        if self._session is not None:
            self._session.close()
        self._session = None


class HeartbeatHook(tf.train.SessionRunHook):
    """Tells those who wait for a step that there was one; lets the chief save though its main
    thread is held."""

    def __init__(self, creator, watcher, run, found):
        self._creator = creator
        self._watcher = watcher
        self._run = run
        self._saving = [hook for hook in found if isinstance(hook, checkpoints.CheckpointHook)]

    def after_create_session(self, session, unused_coord):
        def rescue():
            with session.graph.as_default():
                for hook in self._saving:
                    hook.end(session)
                    runs.write_status(self._run, state='stopped')

        def poke():
            try:
                with session.graph.as_default():
                    session.run(tf.train.get_global_step())
            except (tf.errors.OpError, RuntimeError):
                pass  # the step that waits fails with it, and begins anew
        self._watcher.rescue, self._watcher.poke = rescue, poke
        self._watcher.beat()

    def after_run(self, unused_context, unused_values):
        self._creator.made_step()
        self._watcher.beat()


class DrainWorkersHook(tf.train.SessionRunHook):
    """Has the chief wait, at the last step, for the steps that other workers are still making."""

    def __init__(self, cluster, signals, watcher):
        self._chief = cluster.task.is_chief
        self._others = cluster.others() if self._chief else {}
        self._signals = signals
        self._watcher = watcher

    def end(self, session):
        self._watcher.leaving(self._chief)
        limit = time.time() + LAST_SECS
        while not self._signals.code and time.time() < limit and any(
                map(network.is_reachable, self._others.values())):
            time.sleep(.1)


class NotifyServersHook(tf.train.SessionRunHook):
    """Tells every server that this worker is done, after all else."""

    def __init__(self, cluster, watcher, run, last):
        self._watcher = watcher
        self._run = run
        self._last = last
        self._tell = [parameter_server.done_queue(i).enqueue(cluster.task.index)
                      for i in range(len(cluster.spec.ps))]

    def end(self, session):
        self._watcher.kept()
        if session.run(tf.train.get_global_step()) >= self._last:
            for tell in self._tell:
                try:
                    session.run(tell)
                except tf.errors.OpError:
                    pass  # that server is gone: it need not be told to go
            self._watcher.saved(self._state_done)

    def _state_done(self):
        if self._run is not None:
            runs.write_status(self._run, state='done')


def _fingerprint(config, options, place):
    """A number that workers which train the same thing have in common."""
    value = {name: part for name, part in config.to_json().items()
             if name == 'steps' or name not in RESUMABLE}
    value.update(mode=options.mode, backup=options.backup_workers, workers=len(place.workers))
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def train_worker(config, dataset, session_config, cluster):
    """Trains as a worker that is not the chief. Returns the exit code."""
    with Signals('%s: ending after this step; again to exit at once') as signals, \
            tf.Graph().as_default(), cluster.device_scope():
        graph = build(config, dataset, cluster, session_config)
        found = [
            hooks.LoggingHook(
                graph.step, {n: graph.scalars[n] for n in ('loss', 'accuracy')}, config.steps,
                config.recipe.batch_size, config.log_steps, _diverged),
            hooks.StopHook(graph.step, config.steps, signals)]
        with cluster.session(None, None, found, signals, session_config) as session:
            while not session.should_stop():
                session.run(graph.train)
    print('stopped' if signals.code else 'done', flush=True)
    return signals.code


def _diverged(step):
    return UserError('not a finite number at step %d: the last good checkpoint is kept; '
                             'train anew with a lower rate' % step)

"""Synchronous steps: the mean of all workers' gradients makes one update.

The workers split each batch, so a recipe means the same as for one process: n workers follow its
steps except for rounding, dropout, and the statistics of batch normalization, which each worker
computes over its own shard.
"""

import types
from typing import Any, Optional, Tuple

import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError
from permafrost.inputs.pipeline import Shard


class SyncReplicas:
    """The synchronous update of one worker; the chief makes the updates.

    Each step ignores the `backup_workers` slowest workers. Backup workers compute the same shards
    as the first workers, so a step may be made without all shards of its batch.
    """

    def __init__(self, workers: int, backup_workers: int, is_chief: bool):
        if not 0 <= backup_workers < workers:
            raise UsageError(f'--backup_workers={backup_workers} leaves none of {workers} workers '
                             f'to wait for: use 0 to {workers - 1}')
        self._workers = workers
        self._num_shards = workers - backup_workers
        self._is_chief = is_chief
        self._optimizer: Any = None  # made by update(), needed by hook()

    def shard(self, index: int) -> Shard:
        """Return the shard of each batch that worker `index` computes."""
        return Shard(index % self._num_shards, self._num_shards)

    def update(self, optimizer: tf.train.Optimizer, loss: tf.Tensor, averages: Optional[Any]
               ) -> Tuple[tf.Operation, tf.Tensor]:
        """See Strategy.update."""
        def apply_gradients(gradients: Any, global_step: tf.Variable) -> tf.Operation:
            update = optimizer.apply_gradients(gradients, global_step)
            if averages is None:
                return update
            with tf.control_dependencies([update]):
                return averages.apply(tf.trainable_variables())

        self._optimizer = _QuietSyncReplicasOptimizer(
            types.SimpleNamespace(apply_gradients=apply_gradients), self._num_shards, self._workers)
        gradients = optimizer.compute_gradients(loss)
        train = self._optimizer.apply_gradients(gradients, tf.train.get_global_step())
        # Only the chief updates moving statistics, else they would move several times a step. They
        # do not precede the update as elsewhere: a thread that computes no loss makes the update.
        statistics = tf.get_collection(tf.GraphKeys.UPDATE_OPS) if self._is_chief else []
        with tf.control_dependencies(statistics):
            # The token that ends this worker's wait is the step; the variable may be further on.
            train = tf.identity(train)
        return train, train

    def hook(self) -> tf.train.SessionRunHook:
        """Return the hook that every worker needs. Call update() first.

        It starts with no tokens: a fast worker would use them to replace the others' gradients.
        """
        return self._optimizer.make_session_run_hook(self._is_chief, num_tokens=0)


class _QuietSyncReplicasOptimizer(tf.train.SyncReplicasOptimizer):
    """One whose thread ends without a stack trace when the session is closed."""

    def get_chief_queue_runner(self) -> tf.train.QueueRunner:
        runner = super().get_chief_queue_runner()
        return tf.train.QueueRunner(runner.queue, runner.enqueue_ops, queue_closed_exception_types=(
            tf.errors.OutOfRangeError, tf.errors.CancelledError))

"""Synchronous steps: the mean of all workers' gradients makes one update.

The workers part each batch, so the recipe means what it means to one process, and n workers
follow the steps of one (but for rounding, for dropout, and for batch normalization, whose
statistics are of each worker's part).
"""

import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError


class SyncReplicas:
    """Of one worker.

    Args:
      workers: number of them.
      backup: how many may be late: their gradients are dropped. They take the same parts as the
        first workers, and with them a step no longer waits for all parts of its batch.
      is_chief: whether this worker makes the updates.
    """

    def __init__(self, workers, backup, is_chief):
        if not 0 <= backup < workers:
            raise UsageError('--backup_workers=%d of %d workers leaves none to wait for' % (
                backup, workers))
        self.needed = workers - backup
        self._workers = workers
        self._is_chief = is_chief

    def part(self, index):
        """(k, n): worker `index` takes the k-th of n parts of each batch."""
        return index % self.needed, self.needed

    def update(self, optimizer, loss, averages):
        """See training.Local."""
        optimizer = _Averaging(optimizer, averages)
        self._optimizer = _Replicas(optimizer, self.needed, self._workers)
        gradients = optimizer.compute_gradients(loss)
        train = self._optimizer.apply_gradients(gradients, tf.train.get_global_step())
        # Were moving statistics moved by every worker, they would move that many times a step.
        # Not before the update, as elsewhere: it is made by a thread that computes no loss.
        moved = tf.get_collection(tf.GraphKeys.UPDATE_OPS) if self._is_chief else []
        with tf.control_dependencies(moved):
            # The token that ends this worker's wait is the step; the variable may be further on.
            train = tf.identity(train)
        return train, train

    def hook(self):
        """The SessionRunHook that every worker needs. No tokens to begin with: the fast worker
        would use them to supply the gradients of others."""
        return self._optimizer.make_session_run_hook(self._is_chief, num_tokens=0)


class _Replicas(tf.train.SyncReplicasOptimizer):
    """One whose thread ends without a stack trace when the session is closed."""

    def get_chief_queue_runner(self):
        runner = super().get_chief_queue_runner()
        return tf.train.QueueRunner(runner.queue, runner.enqueue_ops, queue_closed_exception_types=(
            tf.errors.OutOfRangeError, tf.errors.CancelledError))


class _Averaging:
    """An optimizer whose update is over when the weight averages have followed."""

    def __init__(self, optimizer, averages):
        self._optimizer = optimizer
        self._averages = averages
        self.compute_gradients = optimizer.compute_gradients

    def apply_gradients(self, gradients, global_step=None):
        update = self._optimizer.apply_gradients(gradients, global_step)
        if self._averages is None:
            return update
        with tf.control_dependencies([update]):
            return self._averages.apply(tf.trainable_variables())

"""Synchronous steps: the mean of all workers' gradients makes one update.

The workers split each batch, so a recipe means the same as for one process, but for what
docs/cluster.md lists, such as dropout and the statistics of batch normalization.

    worker i:  gradients -> accumulators (one a variable) ... token from queue i -> next step
    chief:     accumulators -> mean -> update -> the new step, a token, to the queue of each worker

TensorFlow's SyncReplicasOptimizer has one queue for all workers. A task that is killed leaves a
token too many or too few there, and a chief that ends closes it for good.
"""

import threading
from typing import Any, List, NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError
from permafrost.inputs.pipeline import Shard
from permafrost.training.strategy import Gradients, Update


class Accumulated(NamedTuple):
    """The accumulators of the gradients of a step, and what is done with them."""
    accumulators: List[Tuple[tf.ConditionalAccumulator, str]]  # each with its device
    pushes: List[tf.Operation]  # add this worker's gradients
    means: List[Tuple[tf.Tensor, tf.Variable]]  # of the workers' gradients, by variable


class SyncReplicas:
    """The synchronous update of worker `index`; worker 0, the chief, makes the updates.

    Each step ignores the `backup_workers` slowest workers. Backup workers compute the same shards
    as the first workers, so a step may be made without all shards of its batch.
    """

    def __init__(self, workers: int, backup_workers: int, index: int):
        if not 0 <= backup_workers < workers:
            raise UsageError(f'--backup_workers={backup_workers} leaves none of {workers} workers '
                             f'to wait for: use 0 to {workers - 1}')
        self._workers = workers
        self._num_shards = workers - backup_workers
        self._index = index
        self._hook: Optional[SyncHook] = None  # made by update()

    def shard(self) -> Shard:
        """Return the shard of each batch that this worker computes."""
        return Shard(self._index % self._num_shards, self._num_shards)

    def update(self, optimizer: tf.train.Optimizer, gradients: Gradients, averages: Any) -> Update:
        """See Strategy.update."""
        global_step = tf.train.get_global_step()
        with tf.device(global_step.device):
            queues = [tf.FIFOQueue(-1, tf.int64, [[]], shared_name=f'steps_of_worker_{i}')
                      for i in range(self._workers)]
        with tf.device(tf.no_op().device):  # of this worker, not of a server
            local_step = tf.get_variable(
                'local_step', [], tf.int64, initializer=tf.zeros_initializer(), trainable=False,
                collections=[tf.GraphKeys.LOCAL_VARIABLES])
        accumulators, pushes, means = self._accumulate(gradients, local_step)
        own = queues[self._index]
        with tf.device(global_step.device), tf.control_dependencies(pushes):
            # A worker that was slow has several tokens: it continues with the last step.
            token = own.dequeue_many(tf.maximum(own.size(), 1))[-1]
        with tf.control_dependencies([local_step.assign(token, read_value=False)]):
            step = tf.identity(token)
        apply_mean = None if self._index else _apply_mean(optimizer, means, averages, queues)
        self._hook = SyncHook(own, [queue for queue in queues if queue is not own], global_step,
                              local_step, accumulators, apply_mean)
        return step, step

    def _accumulate(self, gradients: Gradients, local_step: tf.Variable) -> Accumulated:
        """Return the operations that gather the gradients of all workers for `local_step`."""
        # Only the chief updates moving statistics, else they would move several times a step. Its
        # gradients come after, since averages of the statistics follow the update of the weights.
        statistics = [] if self._index else tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        accumulated = Accumulated([], [], [])
        for gradient, variable in gradients:
            if gradient is None:
                continue
            with tf.device(variable.device):
                # Accumulators live as long as their server, which may have served another model.
                shape = 'x'.join(map(str, variable.shape.as_list()))
                accumulator = tf.ConditionalAccumulator(
                    gradient.dtype, variable.shape,
                    shared_name=f'{variable.op.name}/gradients/{shape}')
                with tf.control_dependencies(statistics):
                    accumulated.pushes.append(accumulator.apply_grad(gradient, local_step))
                accumulated.means.append((accumulator.take_grad(self._num_shards), variable))
            accumulated.accumulators.append((accumulator, variable.device))
        return accumulated

    def release_others(self, session: tf.Session, step: int) -> None:
        """End the steps that the other workers wait for, as if the chief had made `step`."""
        session.run(self._hook.release, {self._hook.step: step})

    def hook(self) -> tf.train.SessionRunHook:
        """Return the hook that every worker needs. Call update() first."""
        return self._hook


def _apply_mean(optimizer: tf.train.Optimizer, means: Gradients, averages: Any,
                queues: List[tf.QueueBase]) -> tf.Operation:
    """Return the operation that makes an update and sends the step after it to all `queues`."""
    global_step = tf.train.get_global_step()
    # All or none: else a worker that dies in between leaves half an update behind.
    with tf.control_dependencies([mean for mean, _ in means]):
        means = [(tf.identity(mean), variable) for mean, variable in means]
    update = optimizer.apply_gradients(means, global_step)
    if averages is not None:
        with tf.control_dependencies([update]):
            update = averages()
    with tf.control_dependencies([update]), tf.device(global_step.device):
        new_step = global_step.read_value()
        return tf.group([queue.enqueue(new_step) for queue in queues])


class SyncHook(tf.train.SessionRunHook):
    """Begins the steps of a session anew; the chief's has a thread that makes the updates.

    When the chief starts again, it drops the gradients that are there and sends every worker the
    step to compute: a worker may wait for a step that was made while its token was lost. A worker
    that is at work then computes its step twice.
    """

    def __init__(self, own: tf.QueueBase, others: List[tf.QueueBase], global_step: tf.Variable,
                 local_step: tf.Variable, accumulators: List[Any],
                 apply_mean: Optional[tf.Operation]):
        self._apply_mean = apply_mean
        with tf.device(global_step.device):
            self._drop_tokens = own.dequeue_many(own.size())
            self._send_step = tf.group([queue.enqueue(global_step) for queue in others])
            self.step = tf.placeholder(tf.int64, [])
            self.release = tf.group([queue.enqueue(self.step) for queue in others])
        self._begin = tf.group(local_step.assign(global_step, read_value=False))
        self._counts: List[tf.Tensor] = []
        self._drop: List[tf.Tensor] = []
        self._set_step: List[tf.Operation] = []
        for accumulator, device in accumulators:
            with tf.device(device):
                count = accumulator.num_accumulated()
                self._counts.append(count)
                self._drop.append(accumulator.take_grad(count))
                self._set_step.append(accumulator.set_global_step(global_step))

    def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
        session.run(self._drop_tokens)
        if self._apply_mean is not None:
            counts = session.run(self._counts)
            session.run([drop.op for drop, count in zip(self._drop, counts) if count])
            session.run(self._set_step)
            session.run(self._send_step)
        session.run(self._begin)
        if self._apply_mean is not None:
            threading.Thread(target=self._apply, args=(session, coord), daemon=True).start()

    def _apply(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
        try:
            while not coord.should_stop():
                session.run(self._apply_mean)
        except Exception as error:
            if coord.should_stop():  # the session is closed
                return
            # The main thread may wait for a server that lives: end its step, with this error.
            is_lost = isinstance(error, tf.errors.CancelledError)
            coord.request_stop(tf.errors.UnavailableError(None, None, str(error)) if is_lost else
                               error)
            session.close()

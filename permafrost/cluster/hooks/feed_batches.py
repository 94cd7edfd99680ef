"""Batches for a worker: its input pipeline outlives the sessions of the cluster."""

from typing import Any, Callable, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.training.strategy import Batch


class FeedBatchesHook(tf.train.SessionRunHook):
    """Feeds `placeholders` from a pipeline with a session of its own, in this process.

    In the cluster's session, the queues of the pipeline would be resources of this task's server:
    if a lost server ends that session, they would be closed for the next session too.

    The argument of `build_pipeline` is the global step at which a session of the cluster starts.
    A run that does not advance the global step `step` gets the same batch again: see SyncHook.
    With `is_sync` each step has a batch of its own, and those of steps that were made without this
    worker are left out; else the steps of other workers advance `step`, too.
    """
    step: Optional[tf.Tensor] = None

    def __init__(self, build_pipeline: Callable[[tf.Tensor], Batch],
                 session_config: tf.ConfigProto, is_sync: bool = False):
        self._is_sync = is_sync
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
        self._again, self._num_drawn = False, 0
        with self._graph.as_default():
            self._session = tf.train.MonitoredSession(self._creator)

    def before_run(self, run_context: tf.train.SessionRunContext) -> tf.train.SessionRunArgs:
        if not self._again:
            number = self._last_step - self._first_step if self._is_sync else self._num_drawn
            while self._num_drawn <= number:
                self._values = self._session.run(self._batch)
                self._num_drawn += 1
        return tf.train.SessionRunArgs(self.step, dict(zip(self.placeholders, self._values)))

    def after_run(self, unused_context: Any, run_values: Any) -> None:
        self._again = run_values.results == self._last_step
        self._last_step = run_values.results

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None

"""The training protocol: what training asks of the place where it runs, and one process as such.

`SingleProcess` is the degenerate case; permafrost.cluster.worker.ClusterWorker is the other one.
"""

import abc
import contextlib
from typing import Any, ContextManager, List, Optional, Tuple

import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.config import Config
from permafrost.inputs import pipeline
from permafrost.training.signals import Signals


class Strategy(abc.ABC):
    """Where a training runs: where its variables live, who feeds it and who updates the weights."""

    script: str
    """The script that starts the training, named in messages, e.g. 'train.py'."""

    dropout_seed_offset: int = 0
    """Added to the seed of dropout, so that each worker drops different units."""

    has_other_tasks: bool = False
    """Whether other tasks must be told when there is nothing left to train."""

    @abc.abstractmethod
    def device_scope(self) -> ContextManager[Any]:
        """Return a context in which each operation is placed on its device."""

    @abc.abstractmethod
    def variable_scope(self) -> ContextManager[Any]:
        """Return a context in which the model reads its variables."""

    @abc.abstractmethod
    def batches(self, dataset: Any, config: Config, global_step: tf.Tensor
                ) -> Tuple[tf.Tensor, tf.Tensor]:
        """Return the images (float [B, h, w, 3], preprocessed) and labels (int64 [B]) of a step."""

    def update(self, optimizer: tf.train.Optimizer, loss: tf.Tensor, averages: Optional[Any]
               ) -> Tuple[tf.Operation, tf.Tensor]:
        """Return the operation that makes one training step, and the global step after it.

        Args:
          optimizer: applies the gradients of `loss`.
          loss: scalar.
          averages: its apply(variables) updates the moving averages; None if there are none.
        """
        global_step = tf.train.get_global_step()
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            update = optimizer.minimize(loss, global_step=global_step)
        with tf.control_dependencies([update]):
            step = global_step.read_value()
            return averages.apply(tf.trainable_variables()) if averages else update, step

    @abc.abstractmethod
    def session(self, run: Optional[str], saver: Optional[tf.train.Saver],
                hooks: List[tf.train.SessionRunHook], signals: Signals,
                session_config: Optional[tf.ConfigProto]
                ) -> ContextManager[tf.train.MonitoredSession]:
        """Return a monitored session that restores the last checkpoint of `run` and runs `hooks`.

        Args:
          run: run directory; None for a worker that is not the chief.
          saver: restores the checkpoint; None for a worker that is not the chief.
          signals: stops waiting when a signal arrives.
        """


class SingleProcess(Strategy):
    """Everything in this process."""
    script = 'train.py'

    def device_scope(self) -> ContextManager[Any]:
        return contextlib.nullcontext()

    def variable_scope(self) -> ContextManager[Any]:
        return contextlib.nullcontext()

    def batches(self, dataset: Any, config: Config, global_step: tf.Tensor
                ) -> Tuple[tf.Tensor, tf.Tensor]:
        return pipeline.training_batches(dataset, config, global_step)

    def session(self, run: Optional[str], saver: Optional[tf.train.Saver],
                hooks: List[tf.train.SessionRunHook], signals: Signals,
                session_config: Optional[tf.ConfigProto]
                ) -> ContextManager[tf.train.MonitoredSession]:
        return tf.train.MonitoredTrainingSession(
            checkpoint_dir=run and runs.train_dir(run), scaffold=tf.train.Scaffold(saver=saver),
            hooks=hooks, save_checkpoint_secs=None, save_summaries_steps=None,
            log_step_count_steps=None, config=session_config)


SINGLE_PROCESS = SingleProcess()

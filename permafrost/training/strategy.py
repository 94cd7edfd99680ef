"""The training protocol: what training asks of the place where it runs, and one process as such.

`SingleProcess` is the degenerate case; permafrost.cluster.worker.ClusterWorker is the other one.
"""

import abc
import contextlib
from typing import Any, Callable, ContextManager, Iterator, List, Optional, Sequence, Tuple

import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.datasets.loading import Dataset
from permafrost.inputs import pipeline
from permafrost.training.checkpoints import saving
from permafrost.training.signals import Signals

# Images (float [B, h, w, 3], preprocessed), labels (int64 [B]) and, with a teacher, its logits
# (float [B, classes]).
Batch = Tuple[tf.Tensor, ...]
Gradients = Sequence[Tuple[Optional[tf.Tensor], tf.Variable]]  # of the loss, by variable
Update = Tuple[tf.Operation, tf.Tensor]  # makes one training step; the global step after it
Session = ContextManager[tf.train.MonitoredSession]
Hooks = List[tf.train.SessionRunHook]


class FinalHook(tf.train.SessionRunHook):
    """A hook whose `end` records the last step, before the other tasks of a cluster are closed."""

    def is_behind(self, unused_step: int) -> bool:
        """Return whether `end` has something to record although the run is at its last step."""
        return False


class Strategy(abc.ABC):
    """Where a training runs: where its variables live, who feeds it and who updates the weights."""
    script: str  # that starts the training, named in messages, e.g. 'train.py'
    resume_arguments: Sequence[str] = ()  # that it needs apart from --run and --resume
    dropout_seed_offset: int = 0  # added to the seed of dropout: workers drop different units
    has_other_tasks: bool = False  # whether others must be told when nothing is left to train
    # Notes that the main thread is at work, although it makes no step.
    heartbeat: Callable[[], None] = staticmethod(lambda: None)

    @property
    def others_know(self) -> bool:
        """Return whether other tasks, if any, have been told that the last step is saved."""
        return True

    def device_scope(self) -> ContextManager[Any]:
        """Return a context in which each operation is placed on its device."""
        return contextlib.nullcontext()

    def variable_scope(self) -> ContextManager[Any]:
        """Return a context in which the model reads its variables."""
        return contextlib.nullcontext()

    @abc.abstractmethod
    def batches(self, dataset: Dataset, config: Config, global_step: tf.Tensor,
                teach: Optional[pipeline.Teach] = None) -> Batch:
        """Return the images and labels of a step and, with `teach`, the teacher's logits."""

    def update(self, optimizer: tf.train.Optimizer, gradients: Gradients, averages: Any) -> Update:
        """Return the operation that applies `gradients`, and the step after it.

        averages(), if it is not None, returns the operation that updates the moving averages.
        """
        global_step = tf.train.get_global_step()
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            update = optimizer.apply_gradients(gradients, global_step)
        with tf.control_dependencies([update]):
            step = global_step.read_value()
            return averages() if averages else update, step

    @abc.abstractmethod
    def session(self, run: Optional[str], saver: Optional[tf.train.Saver], hooks: Hooks,
                signals: Signals, session_config: Optional[tf.ConfigProto]) -> Session:
        """Return a monitored session that restores the last checkpoint of `run` and runs `hooks`.

        `run` and `saver` are None for a worker that is not the chief. A signal ends any waiting.
        """


class SingleProcess(Strategy):
    """Everything in this process."""
    script = 'train.py'

    def batches(self, dataset: Dataset, config: Config, global_step: tf.Tensor,
                teach: Optional[pipeline.Teach] = None) -> Batch:
        return pipeline.training_batches(dataset, config, global_step, teach=teach)

    def session(self, run: Optional[str], saver: Optional[tf.train.Saver], hooks: Hooks,
                signals: Signals, session_config: Optional[tf.ConfigProto]) -> Session:
        return local_session(hooks, signals, session_config, tf.train.Scaffold(
            saver=saver, init_fn=lambda _, session: saving.restore_newest(saver, session, run)))


@contextlib.contextmanager
def local_session(hooks: Hooks, signals: Signals, session_config: Optional[tf.ConfigProto],
                  scaffold: Optional[tf.train.Scaffold] = None
                  ) -> Iterator[tf.train.MonitoredSession]:
    """Context with a monitored session of this process.

    A signal closes the queues of the input pipeline, else a step could wait for a slow disk. The
    session ends in order then, as it does at the end of the input.
    """
    close_queues = _CloseQueuesHook()
    with signals.calling(close_queues.request_stop), tf.train.MonitoredTrainingSession(
            scaffold=scaffold, hooks=[close_queues, *hooks], save_checkpoint_secs=None,
            save_summaries_steps=None, log_step_count_steps=None,
            config=session_config) as session:
        yield session


class _CloseQueuesHook(tf.train.SessionRunHook):
    """Reaches the coordinator of the queue runners, which close their queues when it stops."""
    _coordinator: Optional[tf.train.Coordinator] = None

    def after_create_session(self, unused_session: tf.Session, coord: tf.train.Coordinator) -> None:
        self._coordinator = coord

    def request_stop(self) -> None:
        if self._coordinator is not None:  # else StopHook stops the session that is created
            self._coordinator.request_stop()


SINGLE_PROCESS = SingleProcess()

"""Summaries of the training: scalars, images and histograms, at the steps that the Config says."""

import dataclasses
from typing import Any, List, Optional

import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.recipes import durations
from permafrost.training.graph import TrainGraph
from permafrost.training.hooks import LoggingHook
from permafrost.training.tensorboard.event_writer import EventWriter

# The tag of each scalar of the training and each metric of an evaluation. One tag is one quantity,
# so TensorBoard shows it in one chart for train, eval/validation and eval/test.
TAGS = {'loss': 'loss/total', 'cross_entropy': 'loss/cross_entropy',
        'weight_decay': 'loss/weight_decay', 'distillation': 'loss/distillation',
        'accuracy': 'accuracy/top1', 'accuracy_tta': 'accuracy/top1_tta',
        'learning_rate': 'schedule/learning_rate', 'sparsity': 'schedule/sparsity',
        'images_per_second': 'speed/images_per_second',
        'eval_images_per_second': 'speed/eval_images_per_second'}


@dataclasses.dataclass(eq=False)
class SummaryHook(tf.train.SessionRunHook):
    """Writes `summary` (scalar string tensor) at the first step and every `interval` steps."""
    step: tf.Tensor
    writer: EventWriter
    summary: tf.Tensor
    interval: int
    progress: Optional[LoggingHook] = None  # its images/s are written too

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        self._step = self._written = int(session.run(tf.train.get_global_step()))
        # TensorBoard drops the points that a killed process wrote after its last checkpoint.
        self.writer.write(step=self._step + 1,
                          session_log=tf.SessionLog(status=tf.SessionLog.START))

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        self._is_due = self._step == 0 or durations.crossed_multiple_of(
            self.interval, self._written, self._step + 1)
        return tf.train.SessionRunArgs(
            [self.step, self.summary] if self._is_due else [self.step])

    def after_run(self, unused_context: Any, run_values: Any) -> None:
        self._step = int(run_values.results[0])
        if self._is_due:
            self._written = self._step
            summary = tf.Summary.FromString(run_values.results[1])
            if self.progress is not None and self.progress.images_per_second:
                summary.value.add(tag=TAGS['images_per_second'],
                                  simple_value=self.progress.images_per_second)
            self.writer.write(step=self._step, summary=summary)


def summary_hooks(graph: TrainGraph, config: Config, writer: EventWriter, progress: LoggingHook
                  ) -> List[tf.train.SessionRunHook]:
    """Return the hooks that write scalar, image and histogram summaries as `config` asks."""
    hooks = []
    if config.summary_steps:
        scalars = [tf.summary.scalar(TAGS[name], value) for name, value in graph.scalars.items()]
        hooks.append(SummaryHook(graph.step, writer, tf.summary.merge(scalars),
                                 config.summary_steps, progress))
    if config.histogram_steps:
        summaries = [tf.summary.image('inputs', graph.images, 8)]
        with tf.control_dependencies([graph.step]):
            # Histograms fail for NaN, before LoggingHook can say what has happened.
            weights = {v.op.name: _finite(v.read_value()) for v in tf.trainable_variables()}
        with tf.name_scope('weights'):  # without it, tags would differ from the variables' names
            summaries += [tf.summary.histogram(name, value) for name, value in weights.items()]
        hooks.append(SummaryHook(graph.step, writer, tf.summary.merge(summaries),
                                 config.histogram_steps))
    return hooks


def _finite(values: tf.Tensor) -> tf.Tensor:
    return tf.where_v2(tf.is_finite(values), values, tf.zeros_like(values))

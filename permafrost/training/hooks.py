"""Hooks that run between the training steps: progress, summaries, stopping.

Saving is in permafrost.training.checkpoints. Every hook receives `step`, a scalar tensor that reads
the global step after the update: a plain fetch of the variable would race with the update.
"""

import datetime
import math
import os
import sys
import time
from typing import Any, Callable, List, Optional, Tuple

import tensorflow.compat.v1 as tf
import tqdm

from permafrost.config import Config
from permafrost.errors import UserError
from permafrost.training.signals import Signals

_IMPORT_TIME = time.time()


def progress_hooks(graph: Any, config: Config, signals: Signals,
                   on_nan: Callable[[int], UserError]) -> Tuple['LoggingHook', 'StopHook']:
    """Return the hooks that every worker needs: one shows progress, one stops the training.

    `on_nan(step)` returns the error to raise when the loss is not finite.
    """
    return LoggingHook(graph, config, on_nan), StopHook(graph.step, config.steps, signals)


def summary_hooks(graph: Any, config: Config, writer: tf.summary.FileWriter,
                  speed: Callable[[], float]) -> List[tf.train.SessionRunHook]:
    """Return the hooks that write scalar, image and histogram summaries as `config` asks.

    `speed()` returns images/s, which is written with the scalars.
    """
    hooks = []
    if config.summary_steps:
        scalars = [tf.summary.scalar(name, value) for name, value in graph.scalars.items()]
        hooks.append(SummaryHook(graph.step, writer, tf.summary.merge(scalars),
                                 config.summary_steps, speed))
    if config.histogram_steps:
        summaries = [tf.summary.image('images', graph.images, 8)]
        with tf.control_dependencies([graph.step]):
            weights = {v.op.name: v.read_value() for v in tf.trainable_variables()}
        with tf.name_scope('histograms'):  # without it, tags would differ from the variables' names
            summaries += [tf.summary.histogram(name, value) for name, value in weights.items()]
        hooks.append(SummaryHook(graph.step, writer, tf.summary.merge(summaries),
                                 config.histogram_steps))
    return hooks


def crossed_multiple_of(interval: int, before: int, step: int) -> bool:
    """Return whether a multiple of `interval` lies after step `before` and not after `step`.

    In a cluster the steps in between may belong to other workers.
    """
    return step // interval > before // interval


class StopHook(tf.train.SessionRunHook):
    """Stops at the global step `last_step`, or after the step in which a signal arrives."""

    def __init__(self, step: tf.Tensor, last_step: int, signals: Signals):
        self._step = step
        self._last_step = last_step
        self._signals = signals

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        if session.run(tf.train.get_global_step()) >= self._last_step:
            coord.request_stop()  # other workers have finished: make no further step

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self._step)

    def after_run(self, context: Any, values: Any) -> None:
        if self._signals.code or values.results >= self._last_step:
            context.request_stop()


class LoggingHook(tf.train.SessionRunHook):
    """Shows progress: a bar on a terminal, or a line every `config.log_steps` steps in a log.

    `on_nan(step)` returns the error to raise when the loss is not finite.
    """

    def __init__(self, graph: Any, config: Config, on_nan: Callable[[int], UserError]):
        self._fetches = {'step': graph.step, 'loss': graph.scalars['loss'],
                         'accuracy': graph.scalars['accuracy']}
        self._total_steps = config.steps
        self._interval = config.log_steps
        self._batch_size = config.recipe.batch_size
        self._on_nan = on_nan
        self._bar = None
        self._is_first = True
        self.images_per_second = 0.

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        self._step = int(session.run(tf.train.get_global_step()))
        if not self._is_first:  # a lost server: the steps since the last save are undone
            self._log_time, self._log_step = time.time(), self._step

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self._fetches)

    def after_run(self, unused_context: Any, run_values: Any) -> None:
        scalars = dict(run_values.results)
        step = int(scalars.pop('step'))
        if not math.isfinite(scalars['loss']):
            raise self._on_nan(step)
        if self._is_first:
            self._begin(step)
        elif self._bar is not None:
            self._bar.update(step - self._bar.n)
        if crossed_multiple_of(self._interval, self._step, step) or step >= self._total_steps:
            self._log(step, scalars)
        self._step = step

    def _begin(self, step):
        self._is_first = False
        self._step = step - 1  # a worker that joins late did not make the steps before
        print(f'first step after {_process_age():.1f} s', flush=True)
        self._log_time, self._log_step = time.time(), step
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(total=self._total_steps, initial=step, unit='step',
                                  dynamic_ncols=True)

    def _log(self, step, scalars):
        if step > self._log_step:
            images = (step - self._log_step) * self._batch_size
            self.images_per_second = images / (time.time() - self._log_time)
            self._log_time, self._log_step = time.time(), step
        text = ' '.join(f'{name} {value:.6g}' for name, value in sorted(scalars.items()))
        if self.images_per_second:
            text += f' {self.images_per_second:.0f} images/s'
        if self._bar is not None:
            self._bar.set_postfix_str(text)
            return
        if self.images_per_second:
            images = max(self._total_steps - step, 0) * self._batch_size
            seconds = int(images / self.images_per_second)
            text += f' ETA {datetime.timedelta(seconds=seconds)}'
        print(f'step {step}/{self._total_steps} {text}', flush=True)

    def end(self, unused_session: tf.Session) -> None:
        if self._bar is not None:
            self._bar.close()


def _process_age() -> float:
    """Return the seconds since this process started."""
    try:
        with open('/proc/self/stat') as stream:
            start_ticks = float(stream.read().rsplit(')', 1)[1].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf('SC_CLK_TCK')
    except OSError:  # not Linux
        return time.time() - _IMPORT_TIME


class SessionLogHook(tf.train.SessionRunHook):
    """Makes TensorBoard drop the points that a killed process wrote after its last checkpoint."""

    def __init__(self, writer: tf.summary.FileWriter):
        self._writer = writer

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        self._writer.add_session_log(tf.SessionLog(status=tf.SessionLog.START),
                                     int(session.run(tf.train.get_global_step())) + 1)


class SummaryHook(tf.train.SessionRunHook):
    """Writes `summary` (scalar string tensor) at the first step and every `interval` steps.

    `speed()`, if given, returns images/s to be written too.
    """

    def __init__(self, step: tf.Tensor, writer: tf.summary.FileWriter, summary: tf.Tensor,
                 interval: int, speed: Optional[Callable[[], float]] = None):
        self._fetches = {'step': step}
        self._writer = writer
        self._summary = summary
        self._interval = interval
        self._speed = speed

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        self._step = self._written = int(session.run(tf.train.get_global_step()))

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        self._is_due = self._step == 0 or crossed_multiple_of(
            self._interval, self._written, self._step + 1)
        return tf.train.SessionRunArgs(
            dict(self._fetches, summary=self._summary) if self._is_due else self._fetches)

    def after_run(self, unused_context: Any, run_values: Any) -> None:
        self._step = int(run_values.results['step'])
        if self._is_due:
            self._written = self._step
            self._writer.add_summary(run_values.results['summary'], self._step)
            if self._speed is not None and self._speed():
                self._writer.add_summary(tf.Summary(value=[tf.Summary.Value(
                    tag='images_per_second', simple_value=self._speed())]), self._step)

    def end(self, unused_session: tf.Session) -> None:
        self._writer.flush()

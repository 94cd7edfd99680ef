"""Hooks that run between the training steps: progress, summaries, stopping.

Saving is in permafrost.training.checkpoints. Every hook receives `step`, a scalar tensor that reads
the global step after the update: a plain fetch of the variable would race with the update.
"""

import contextlib
import dataclasses
import datetime
import math
import os
import socket
import time
from typing import Any, List, Optional

import tensorflow.compat.v1 as tf
import tqdm

from permafrost.config import Config
from permafrost.errors import one_line
from permafrost.training.checkpoints import crossed_multiple_of, nan_error
from permafrost.training.signals import Signals

_IMPORT_TIME = time.monotonic()

@dataclasses.dataclass(eq=False)
class StopHook(tf.train.SessionRunHook):
    """Stops at the global step `last_step`, or after the step in which a signal arrives."""
    step: tf.Tensor
    last_step: int
    signals: Signals

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        # Other workers may have finished, or a signal may have come: make no further step.
        if self.signals.code or session.run(tf.train.get_global_step()) >= self.last_step:
            coord.request_stop()

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self.step)

    def after_run(self, context: Any, values: Any) -> None:
        if self.signals.code or values.results >= self.last_step:
            context.request_stop()


class LoggingHook(tf.train.SessionRunHook):
    """Shows progress: a bar on a terminal, or a line every `config.log_steps` steps in a log.

    A loss that is not finite is an error. `run` is None for a worker that is not the chief.
    """

    def __init__(self, graph: Any, config: Config, run: Optional[str]):
        self._fetches = {'step': graph.step, 'loss': graph.scalars['loss'],
                         'accuracy': graph.scalars['accuracy']}
        self._config = config
        self._run = run
        self._bar: Optional[tqdm.tqdm] = None  # until the first step
        self.images_per_second = 0.

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        self._step = int(session.run(tf.train.get_global_step()))
        if self._bar is not None:  # a lost server: the steps since the last save are undone
            self._log_time, self._log_step = time.monotonic(), self._step

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self._fetches)

    def after_run(self, unused_context: Any, run_values: Any) -> None:
        scalars = dict(run_values.results)
        step = int(scalars.pop('step'))
        if not math.isfinite(scalars['loss']):
            raise nan_error(self._config, self._run, step)
        if self._bar is None:
            self._step = step - 1  # a worker that joins late did not make the steps before
            print(f'first step after {_process_age():.1f} s', flush=True)
            self._log_time, self._log_step = time.monotonic(), step
            self._bar = tqdm.tqdm(total=self._config.steps, initial=step, unit='step',
                                  dynamic_ncols=True, disable=None)  # None: unless on a terminal
        self._bar.update(step - self._bar.n)
        if (crossed_multiple_of(self._config.log_steps, self._step, step)
                or step >= self._config.steps):
            self._log(step, scalars)
        self._step = step

    def _log(self, step, scalars):
        batch_size, total = self._config.recipe.batch_size, self._config.steps
        if step > self._log_step:
            images = (step - self._log_step) * batch_size
            self.images_per_second = images / (time.monotonic() - self._log_time)
            self._log_time, self._log_step = time.monotonic(), step
        text = ' '.join(f'{name} {value:.6g}' for name, value in sorted(scalars.items()))
        if self.images_per_second:
            text += f' {self.images_per_second:.0f} images/s'
        if not self._bar.disable:
            self._bar.set_postfix_str(text)
            return
        if self.images_per_second:
            seconds = int(max(total - step, 0) * batch_size / self.images_per_second)
            text += f' ETA {datetime.timedelta(seconds=seconds)}'
        print(f'step {step}/{total} {text}', flush=True)

    def end(self, unused_session: tf.Session) -> None:
        if self._bar is not None:
            self._bar.close()


def _process_age() -> float:
    """Return the seconds since this process started."""
    try:
        with open('/proc/self/stat') as stream:
            start_ticks = float(stream.read().rsplit(')', 1)[1].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf('SC_CLK_TCK')
    except (OSError, AttributeError):  # not Linux
        return time.monotonic() - _IMPORT_TIME


@dataclasses.dataclass(eq=False)
class SummaryHook(tf.train.SessionRunHook):
    """Writes `summary` (scalar string tensor) at the first step and every `interval` steps."""
    step: tf.Tensor
    writer: 'EventWriter'
    summary: tf.Tensor
    interval: int
    progress: Optional[LoggingHook] = None  # its images/s are written too

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        self._step = self._written = int(session.run(tf.train.get_global_step()))
        # TensorBoard drops the points that a killed process wrote after its last checkpoint.
        self.writer.write(step=self._step + 1,
                          session_log=tf.SessionLog(status=tf.SessionLog.START))

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        self._is_due = self._step == 0 or crossed_multiple_of(
            self.interval, self._written, self._step + 1)
        return tf.train.SessionRunArgs(
            [self.step, self.summary] if self._is_due else [self.step])

    def after_run(self, unused_context: Any, run_values: Any) -> None:
        self._step = int(run_values.results[0])
        if self._is_due:
            self._written = self._step
            summary = tf.Summary.FromString(run_values.results[1])
            if self.progress is not None and self.progress.images_per_second:
                summary.value.add(tag='images_per_second',
                                  simple_value=self.progress.images_per_second)
            self.writer.write(step=self._step, summary=summary)


class EventWriter:
    """Writes an event file for TensorBoard. If it cannot, it says so once and does nothing more.

    Errors of tf.summary.FileWriter's thread go unnoticed (1.15) or end the training (2.x).
    """

    def __init__(self, directory: str, graph: tf.Graph):
        # The nanoseconds keep two files of one second apart.
        self._path = os.path.join(directory, f'events.out.tfevents.{int(time.time())}.'
                                  f'{socket.gethostname()}.{time.time_ns()}')
        self._file: Any = None
        self._has_failed = False
        self.write(file_version='brain.Event:2')
        self.write(graph_def=graph.as_graph_def(add_shapes=True).SerializeToString())

    def write(self, **fields: Any) -> None:
        """Write an event with these `fields` of tf.Event."""
        if self._has_failed:
            return
        try:
            if self._file is None:
                self._file = tf.io.TFRecordWriter(os.fsencode(self._path))
            self._file.write(tf.Event(wall_time=time.time(), **fields).SerializeToString())
            self._file.flush()
        except tf.errors.OpError as error:
            self._has_failed = True
            print(f"note: cannot write {self._path} ({one_line(error).split('; ')[-1]}): "
                  'TensorBoard will not show what follows', flush=True)

    def close(self) -> None:
        with contextlib.suppress(tf.errors.OpError):  # all was flushed
            if self._file is not None:
                self._file.close()


def summary_hooks(graph: Any, config: Config, writer: EventWriter, progress: LoggingHook
                  ) -> List[tf.train.SessionRunHook]:
    """Return the hooks that write scalar, image and histogram summaries as `config` asks."""
    hooks = []
    if config.summary_steps:
        scalars = [tf.summary.scalar(name, value) for name, value in graph.scalars.items()]
        hooks.append(SummaryHook(graph.step, writer, tf.summary.merge(scalars),
                                 config.summary_steps, progress))
    if config.histogram_steps:
        summaries = [tf.summary.image('images', graph.images, 8)]
        with tf.control_dependencies([graph.step]):
            weights = {v.op.name: v.read_value() for v in tf.trainable_variables()}
        with tf.name_scope('histograms'):  # without it, tags would differ from the variables' names
            summaries += [tf.summary.histogram(name, value) for name, value in weights.items()]
        hooks.append(SummaryHook(graph.step, writer, tf.summary.merge(summaries),
                                 config.histogram_steps))
    return hooks

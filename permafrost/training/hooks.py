"""Hooks that run between the training steps: progress, stopping.

Saving is in permafrost.training.checkpoints, summaries are in permafrost.training.tensorboard.
Every hook receives `step`, a scalar tensor that reads the global step after the update: a plain
fetch of the variable would race with the update.
"""

import dataclasses
import datetime
import math
import os
import sys
import time
from typing import Any, Optional

import tensorflow.compat.v1 as tf
import tqdm

from permafrost.config import Config
from permafrost.recipes import durations
from permafrost.training.checkpoints.checkpoint_hook import nan_error
from permafrost.training.graph import TrainGraph
from permafrost.training.signals import Signals

_IMPORT_TIME = time.monotonic()


@dataclasses.dataclass(eq=False)
class StopHook(tf.train.SessionRunHook):
    """Stops at the global step `last_step`, or after the step in which a signal arrives.

    Another hook sets `reason` to end the training at once; one that comes after this one also calls
    request_stop.
    """
    step: tf.Tensor
    last_step: int
    signals: Signals
    reason: str = ''  # why the training is done before its last step

    def after_create_session(self, session: tf.Session, coord: Any) -> None:
        # Other workers may have finished, or a signal may have come: make no further step.
        if self._is_last(session.run(tf.train.get_global_step())):
            coord.request_stop()

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self.step)

    def after_run(self, context: Any, values: Any) -> None:
        if self._is_last(values.results):
            context.request_stop()

    def _is_last(self, step: int) -> bool:
        return bool(self.signals.code or self.reason or step >= self.last_step)


class LoggingHook(tf.train.SessionRunHook):
    """Shows progress: a bar on a terminal, or a line every `config.log_steps` steps in a log.

    A loss that is not finite is an error. `run` is None for a worker that is not the chief.
    """

    def __init__(self, graph: TrainGraph, config: Config, run: Optional[str]):
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
            # The bar is on stderr, the lines are on stdout: None asks whether stderr is a terminal.
            self._bar = tqdm.tqdm(
                total=self._config.steps, initial=step, unit='step', dynamic_ncols=True,
                disable=None if sys.stdout.isatty() else True)
        self._bar.update(step - self._bar.n)
        if (durations.crossed_multiple_of(self._config.log_steps, self._step, step)
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

    def exclude(self, seconds: float) -> None:
        """Leave out `seconds` that have just passed: they were not spent on training."""
        if self._bar is not None:
            self._log_time += seconds

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

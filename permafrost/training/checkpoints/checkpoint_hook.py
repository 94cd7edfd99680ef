"""CheckpointHook: when checkpoints are saved while training, and how many are kept."""

import threading
import time
from typing import Any, Callable, List, Optional

import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.config import Config
from permafrost.errors import UserError
from permafrost.recipes import durations
from permafrost.training.checkpoints import finding, saving


def nan_error(config: Config, run: Optional[str], step: int) -> UserError:
    """Return the error for a loss or weight that is not finite; mark `run` as failed.

    `run` is None for a worker that is not the chief.
    """
    checkpoint = 'The chief keeps the last good checkpoint'
    if run is not None:
        runs.write_status(run, state='failed')
        newest = finding.newest_checkpoint(run)
        if newest is None or step <= 1:
            return UserError(f'loss or weights are NaN or infinite at step {step}: check '
                             '--init_from, --teacher, the dataset and the learning rate')
        checkpoint = f'Last good checkpoint: {newest.path} (step {newest.step})'
    rate = durations.learning_rate_at(config, max(step - 1, 0))  # of the update that made this step
    return UserError(
        f'loss or weights became NaN or infinite at step {step} (learning rate {rate:g}). '
        f'{checkpoint}. Train again with a lower learning rate, e.g. '
        f'--learning_rate={config.recipe.learning_rate / 2:g}')


class CheckpointHook(tf.train.SessionRunHook):
    """Saves at the start, at the intervals in `config` and at the end; updates status.json.

    Restore the session with the attribute `saver`. `step` is the global step after the update.
    Weights that are not finite raise UserError and are not saved.

    Attributes:
      last_step: the step of the newest checkpoint, None before the first.
      before_save: functions that are called with the step of each save, before it.
      best_step: a step whose checkpoint is kept although others are newer, or None.
    """

    def __init__(self, run: str, config: Config, step: tf.Tensor):
        self.saver = tf.train.Saver()
        saving.remove_leftovers(run)
        saving.sync_parents(run)
        newest = finding.newest_checkpoint(run)
        if newest:
            finding.verify_compatible(newest.path, {v.op.name: v for v in tf.global_variables()})
        self.last_step = newest.step if newest else None
        self.before_save: List[Callable[[int], None]] = []
        self.best_step: Optional[int] = runs.read_status(run).get('best_step')
        # Those skipped stay until their step is saved again.
        self._kept = [step for step in finding.list_checkpoints(run)
                      if newest and step <= newest.step]
        saving.write_state(run, self._kept)
        self._run = run
        self._config = config
        self._step = step
        self._saving = threading.Lock()  # the watchdog of a cluster saves from its own thread
        self._is_finite = tf.reduce_all(
            [tf.reduce_all(tf.is_finite(variable)) for variable in tf.trainable_variables()])
        self._start_time = time.monotonic()
        # None if status.json does not say how long the steps before this start took.
        self._seconds_before = runs.read_status(run).get('train_seconds')

    @property
    def train_seconds(self) -> float:
        """The seconds that the training of the run has taken so far, as far as they are known."""
        return (self._seconds_before or 0.) + time.monotonic() - self._start_time

    def exclude(self, seconds: float) -> None:
        """Leave out `seconds` that have just passed: they were not spent on training."""
        self._start_time += seconds

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        step = int(session.run(tf.train.get_global_step()))
        self.last_step, self._last_time = step, time.monotonic()
        if step not in self._kept:
            self._save(session, step)  # so that a full disk shows now, not in an hour

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self._step)

    def after_run(self, context: Any, run_values: Any) -> None:
        step, save_secs = int(run_values.results), self._config.save_secs
        if (durations.crossed_multiple_of(self._config.save_steps, self.last_step, step) or
                save_secs and time.monotonic() - self._last_time >= save_secs):
            self._save(context.session, step)

    def end(self, session: tf.Session) -> None:
        self.save_now(session, int(session.run(tf.train.get_global_step())))

    def save_now(self, session: tf.Session, step: int) -> None:
        """Save `session`, which is at `step`, unless that is the newest checkpoint already."""
        if step != self.last_step:
            self._save(session, step)

    def emergency_save(self, session: tf.Session) -> None:
        """Save while the main thread hangs in a step, and mark the run as stopped."""
        with session.graph.as_default():
            self.end(session)
        runs.write_status(self._run, state='stopped')

    def _save(self, session, step):
        with self._saving:
            if step != self.last_step or step not in self._kept:  # the other thread has saved it
                self._save_alone(session, step)

    def _save_alone(self, session, step):
        if not session.run(self._is_finite):
            raise nan_error(self._config, self._run, step)
        for prepare in self.before_save:
            prepare(step)
        saved = saving.save(self.saver, session, self._run, step)
        if saved != step:  # other workers made steps meanwhile
            step = saved
            for prepare in self.before_save:
                prepare(step)
        self._kept = [each for each in self._kept if each != step] + [step]
        deleted = self._kept[:-self._config.max_to_keep] if self._config.max_to_keep else []
        deleted = [each for each in deleted if each != self.best_step]
        self._kept = [each for each in self._kept if each not in deleted]
        saving.write_state(self._run, self._kept)
        for each in deleted:
            saving.delete(self._run, each)
        self.last_step, self._last_time = step, time.monotonic()
        times = {}
        if self._seconds_before is not None:
            images = step * self._config.recipe.batch_size
            times = {'train_seconds': round(self.train_seconds, 1),
                     'images_per_second': round(images / self.train_seconds, 1)}
        runs.write_status(self._run, step=step, **times)

"""Checkpoints: when they are saved, how many are kept, how they are found, checked and restored."""

import contextlib
import glob
import os
import re
import shutil
import time
from typing import Any, Dict, Iterator, Optional, Tuple

import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.config import Config
from permafrost.errors import UsageError, UserError, one_line
from permafrost.recipes import durations

PREFIX = 'model.ckpt'
DISK_ERRORS = ('No space left', 'Disk quota', 'Read-only file system', 'File too large',
               'Permission denied', 'Input/output error')


def list_checkpoints(run: str) -> Dict[int, str]:
    """Return {step: path prefix} of the complete checkpoints of `run`, oldest first."""
    checkpoints = {}
    for path in glob.glob(os.path.join(glob.escape(runs.train_dir(run)), PREFIX + '-*.index')):
        match = re.search(PREFIX + r'-(\d+)\.index$', path)
        if match:  # other files are copies that somebody made
            checkpoints[int(match.group(1))] = path[:-len('.index')]
    return dict(sorted(checkpoints.items()))


def last_step(run: str) -> int:
    """Return the step of the last checkpoint of `run`; 0 if there is none."""
    return max(list_checkpoints(run), default=0)


def find_checkpoint(run: str, step: Optional[int] = None) -> Tuple[int, str]:
    """Return the step and the path prefix of the checkpoint at `step`, by default the last one.

    Raises UserError if the run has no checkpoint yet, UsageError if it has none at `step`.
    """
    checkpoints = list_checkpoints(run)
    if not checkpoints:
        raise UserError(f'no checkpoint in {runs.train_dir(run)} yet: train first, or wait for the '
                        'first save')
    step = max(checkpoints) if step is None else step
    if step not in checkpoints:
        raise UsageError(f'no checkpoint at step {step} in {runs.train_dir(run)} (choose from: '
                         f'{", ".join(map(str, checkpoints))})')
    return step, checkpoints[step]


def verify_compatible(checkpoint: str, variables: Dict[str, tf.Variable]) -> None:
    """Raise UserError unless a checkpoint has `variables`, {name: variable}, with their shapes.

    Restoring does not check this: a resource variable accepts whatever shape the file has.
    """
    try:
        shapes = tf.train.load_checkpoint(checkpoint).get_variable_to_shape_map()
    except tf.errors.OpError as error:
        raise UserError(f'cannot read {checkpoint} ({one_line(error)}): delete its files to use '
                        'the previous checkpoint')
    for name, variable in sorted(variables.items()):
        if shapes.get(name) != variable.shape.as_list():
            problem = f'has shape {shapes[name]}' if name in shapes else 'is missing'
            raise UserError(f'{checkpoint} does not fit this model: {name} {problem}, expected '
                            f'shape {variable.shape.as_list()}. Use a run of this model, or '
                            'start a new one')


def restore(saver: tf.train.Saver, session: tf.Session, checkpoint: str,
            variables: Dict[str, tf.Variable]) -> None:
    """Restore `variables`, those of `saver`, after checking them as verify_compatible does."""
    verify_compatible(checkpoint, variables)
    try:
        saver.restore(session, checkpoint)
    except (ValueError, tf.errors.OpError) as error:
        raise UserError(f'cannot restore {checkpoint}: {one_line(error, 300)}')


def _open_saver(run: str, max_to_keep: int) -> tf.train.Saver:
    """Return a saver that knows the existing checkpoints of `run`, so that it deletes them in turn.

    It also corrects the file `checkpoint`, which tells TensorFlow which checkpoint to restore.
    """
    saver = tf.train.Saver(max_to_keep=max_to_keep or None, save_relative_paths=True)
    paths = list(list_checkpoints(run).values())
    if paths:
        verify_compatible(paths[-1], {v.op.name: v for v in tf.global_variables()})
        names = [os.path.basename(path) for path in paths]
        tf.train.update_checkpoint_state(os.path.abspath(runs.train_dir(run)), names[-1], names)
        saver.recover_last_checkpoints(paths)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(runs.train_dir(run), 'checkpoint'))
    return saver


def nan_error(config: Config, run: Optional[str], step: int) -> UserError:
    """Return the error for a loss or weight that is not finite; mark `run` as failed.

    `run` is None for a worker that is not the chief.
    """
    checkpoint = 'The chief keeps the last good checkpoint'
    if run is not None:
        runs.write_status(run, state='failed')
        last, path = find_checkpoint(run)
        checkpoint = f'Last good checkpoint: {path} (step {last})'
    return UserError(
        f'loss or weights became NaN or infinite at step {step} (learning rate '
        f'{durations.learning_rate_at(config, step):g}). {checkpoint}. Train again with a lower '
        f'learning rate, e.g. --set learning_rate={config.recipe.learning_rate / 2:g}')


def crossed_multiple_of(interval: int, before: int, step: int) -> bool:
    """Return whether a multiple of `interval` is in (before, step]; never for an interval of 0.

    In a cluster the steps in between may belong to other workers.
    """
    return interval > 0 and step // interval > before // interval


class CheckpointHook(tf.train.SessionRunHook):
    """Saves at the start, at the intervals in `config` and at the end; updates status.json.

    Restore the session with the attribute `saver`. `step` is the global step after the update.
    Weights that are not finite raise UserError and are not saved.
    """

    def __init__(self, run: str, config: Config, step: tf.Tensor):
        self.saver = _open_saver(run, config.max_to_keep)
        self._run = run
        self._config = config
        self._step = step
        self._prefix = os.path.join(runs.train_dir(run), PREFIX)
        self._is_finite = tf.reduce_all(
            [tf.reduce_all(tf.is_finite(variable)) for variable in tf.trainable_variables()])
        self._start_time = time.time()
        # None if status.json does not say how long the steps before this start took.
        self._seconds_before = runs.read_status(run).get('train_seconds')

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        step = int(session.run(tf.train.get_global_step()))
        self._last_step, self._last_time = step, time.time()
        if not tf.train.checkpoint_exists(f'{self._prefix}-{step}'):
            self._save(session, step)  # so that a full disk shows now, not in an hour

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self._step)

    def after_run(self, context: Any, run_values: Any) -> None:
        step, save_secs = int(run_values.results), self._config.save_secs
        if (crossed_multiple_of(self._config.save_steps, self._last_step, step) or
                save_secs and time.time() - self._last_time >= save_secs):
            self._save(context.session, step)

    def end(self, session: tf.Session) -> None:
        step = int(session.run(tf.train.get_global_step()))
        if step != self._last_step:
            self._save(session, step)

    def emergency_save(self, session: tf.Session) -> None:
        """Save while the main thread hangs in a step, and mark the run as stopped."""
        with session.graph.as_default():
            self.end(session)
        runs.write_status(self._run, state='stopped')

    def _save(self, session, step):
        if not session.run(self._is_finite):
            raise nan_error(self._config, self._run, step)
        self.saver.save(session, self._prefix, global_step=step, write_meta_graph=False)
        self._last_step, self._last_time = step, time.time()
        times = {}
        if self._seconds_before is not None:
            seconds = self._seconds_before + time.time() - self._start_time
            images = step * self._config.recipe.batch_size
            times = {'train_seconds': round(seconds, 1),
                     'images_per_second': round(images / seconds, 1)}
        runs.write_status(self._run, step=step, **times)


@contextlib.contextmanager
def explain_disk_errors(run: str) -> Iterator[None]:
    """Context that turns a full or failing disk, or a damaged checkpoint, into a UserError.

    It deletes the temporary files of an interrupted save and keeps the complete checkpoints.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        raise UserError(f'{find_checkpoint(run)[1]} is damaged ({one_line(error)}): delete its '
                        'files, then --resume from the previous checkpoint')
    except (tf.errors.OpError, OSError) as error:
        reason = next((reason for reason in DISK_ERRORS if reason in str(error)), None)
        if reason is None:
            raise
        for path in glob.glob(os.path.join(glob.escape(runs.train_dir(run)), PREFIX + '*temp*')):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        step = max(list_checkpoints(run), default='none')
        raise UserError(f'cannot write to {run} ({reason}): free disk space or make it writable, '
                        f'then --resume; last complete checkpoint: step {step}')

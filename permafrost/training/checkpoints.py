"""Checkpoints: when they are saved, how many are kept, how they are found, checked and restored.

    model.ckpt-<step>.index                 names, shapes and checksums of the variables
    model.ckpt-<step>.data-00000-of-00001   their values
    checkpoint                              the steps that are kept, for TensorFlow's own tools

TensorFlow takes paths for patterns, and a file for whole because of its name. Nothing here does.
"""

import contextlib
import errno
import functools
import operator
import os
import re
import stat
import tempfile
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

from permafrost import files, runs
from permafrost.config import Config
from permafrost.errors import UsageError, UserError, one_line, printable
from permafrost.recipes import durations

PREFIX = 'model.ckpt'
_TEMPORARY = '.temp'  # follows the step while a checkpoint is being saved
_ENDING = r'\.(?:index|data-[0-9]{5}-of-[0-9]{5})'
# TensorFlow renames its own temporary files, .tempstate<number>, before ours are renamed.
_LEFTOVER = re.compile(rf'{PREFIX}-[0-9]+(?:{_ENDING}\.tempstate[0-9]*|'
                       rf'{_TEMPORARY}{_ENDING}(?:\.tempstate[0-9]*)?)')
# Advice for the errors of a disk.
ADVICE = {errno.ENOSPC: 'free disk space', errno.EDQUOT: 'free disk space or raise the quota',
          errno.EROFS: 'make it writable', errno.EACCES: 'make it writable',
          errno.EPERM: 'make it writable', errno.EIO: 'check the disk',
          errno.EISDIR: 'move it away',
          errno.EFBIG: 'raise the limit on the size of files (ulimit -f)'}


class Checkpoint(NamedTuple):
    """A checkpoint that can be read: its step and the path of its files without their endings."""
    step: int
    path: str


def list_checkpoints(run: str) -> Dict[int, str]:
    """Return {step: path prefix} of all checkpoints of `run` by their names, oldest first."""
    names = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        names = os.listdir(runs.train_dir(run))
    # Other names are copies that somebody made.
    steps = [re.fullmatch(rf'{PREFIX}-(0|[1-9][0-9]*)\.index', name) for name in names]
    return {step: _path(run, step) for step in sorted(int(each.group(1)) for each in steps if each)}


def _path(run: str, step: int, ending: str = '') -> str:
    return os.path.join(runs.train_dir(run), f'{PREFIX}-{step}{ending}')


def newest_checkpoint(run: str) -> Optional[Checkpoint]:
    """Return the newest readable checkpoint of `run`, None if it has none at all.

    A note says once which newer ones are passed over, and why. They are kept until the training
    saves their step again. Raises UserError if none of several is readable.
    """
    checkpoints = list_checkpoints(run)
    for step, path in sorted(checkpoints.items(), reverse=True):
        problem = find_problem(path)
        if problem is None:
            return Checkpoint(step, path)
        if not os.path.lexists(path + '.index'):
            return newest_checkpoint(run)  # a training has just deleted it
        _print_once(f'note: {printable(path)} is passed over: {problem}')
    if checkpoints:
        raise UserError(f'none of the checkpoints in {runs.train_dir(run)} can be read: copy them '
                        'again, or start another run')
    return None


@functools.lru_cache(maxsize=None)
def _print_once(line: str) -> None:
    print(line, flush=True)


def last_step(run: str) -> int:
    """Return the step of the newest readable checkpoint of `run`; 0 if there is none."""
    newest = newest_checkpoint(run)
    return newest.step if newest else 0


def find_checkpoint(run: str, step: Optional[int] = None) -> Checkpoint:
    """Return the checkpoint at `step`, by default the newest that can be read.

    Raises UserError if there is none yet or it is damaged, UsageError if there is none at `step`.
    """
    if step is None:
        newest = newest_checkpoint(run)
        if newest is None:
            raise UserError(f'no checkpoint in {runs.train_dir(run)} yet: train first, or wait for '
                            'the first save')
        return newest
    checkpoints = list_checkpoints(run)
    if step not in checkpoints:
        raise UsageError(f'no checkpoint at step {step} in {runs.train_dir(run)} (choose from: '
                         f'{", ".join(map(str, checkpoints))})')
    problem = find_problem(checkpoints[step])
    if problem:
        raise UserError(f'{checkpoints[step]} is damaged ({problem}): use another --step')
    return Checkpoint(step, checkpoints[step])


def find_problem(path: str) -> Optional[str]:
    """Return why the checkpoint at the path prefix `path` cannot be used; None if it can.

    All of it is read, so that TensorFlow compares every checksum; once, unless its files change.
    Raises UserError if the user may not read it.
    """
    folder, name = os.path.split(path)
    try:
        names = [each for each in sorted(os.listdir(folder))
                 if re.fullmatch(re.escape(name) + _ENDING, each)]
        states = [os.stat(os.path.join(folder, each)) for each in names]
    except OSError as error:
        return f'{os.path.basename(error.filename)}: {error.strerror}'
    for each, state in zip(names, states):
        if not stat.S_ISREG(state.st_mode):
            return f'{each} is not a file'
        if not os.access(os.path.join(folder, each), os.R_OK):
            raise UserError(f'cannot read {os.path.join(folder, each)} '
                            f'({os.strerror(errno.EACCES)}): make it readable')
    if not any('.data-' in each for each in names):
        return 'its .data file is missing'
    return _read_all(path, sum(state.st_size for each, state in zip(names, states)
                               if '.data-' in each),
                     tuple((state.st_ino, state.st_size, state.st_mtime_ns) for state in states))


@functools.lru_cache(maxsize=1024)
def _read_all(path: str, size: int, unused_states: Tuple) -> Optional[str]:
    """Return why the files of a checkpoint, whose data has `size` bytes, cannot be used."""
    try:
        with open_checkpoint(path) as reader:
            shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
            expected = sum(types[name].size * functools.reduce(operator.mul, shape, 1)
                           for name, shape in shapes.items())
            if size != expected:
                return f'its data has {size} bytes, and its index describes {expected}'
            if shapes.get('global_step') != []:
                return 'it has no global_step'
            for name in shapes:
                reader.get_tensor(name)
            step = int(reader.get_tensor('global_step'))
    # TensorFlow 2.21 raises IndexError and RuntimeError too.
    except (tf.errors.OpError, OSError, LookupError, RuntimeError, ValueError, TypeError) as error:
        return _reason(error)
    if path.endswith(f'-{step}'):
        return None
    return f'it is the checkpoint of step {step}'


def _reason(error: Exception) -> str:
    """Return TensorFlow's message about a checkpoint, without the name of _without_pattern."""
    return re.sub(rf'\S+/(?={PREFIX}-)', '', one_line(error))


@contextlib.contextmanager
def _without_pattern(path: str) -> Iterator[str]:
    """Context with another name for `path` that TensorFlow cannot take for a pattern.

    TensorFlow looks for files *like* a checkpoint's path: those of runs/lr1 for runs/lr?, none for
    runs/lr[1]. The other name is that of the folder as this process has opened it.
    """
    folder, name = os.path.split(os.path.abspath(path))
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        opened = f'/proc/self/fd/{handle}'
        if os.path.isdir(opened):
            yield os.path.join(opened, name)
        else:  # not Linux
            with tempfile.TemporaryDirectory() as temporary:
                os.symlink(folder, os.path.join(temporary, 'train'))
                yield os.path.join(temporary, 'train', name)
    finally:
        os.close(handle)


@contextlib.contextmanager
def open_checkpoint(path: str) -> Iterator[Any]:
    """Context with TensorFlow's reader of the checkpoint at the path prefix `path`."""
    with _without_pattern(path) as name:
        yield tf.train.NewCheckpointReader(name)


def verify_compatible(checkpoint: str, variables: Dict[str, tf.Variable]) -> None:
    """Raise UserError unless a checkpoint has `variables`, {name: variable}, with their shapes.

    Restoring does not check this: a resource variable accepts whatever shape the file has.
    """
    try:
        with open_checkpoint(checkpoint) as reader:
            shapes = reader.get_variable_to_shape_map()
    except (tf.errors.OpError, OSError) as error:
        raise UserError(f'cannot read {checkpoint} ({_reason(error)})')
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
        with _without_pattern(checkpoint) as name:
            session.run(saver.saver_def.restore_op_name,
                        {saver.saver_def.filename_tensor_name: name})
    except (tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.UnavailableError):
        raise  # a lost server
    except (tf.errors.OpError, OSError) as error:
        raise UserError(f'cannot restore {checkpoint} ({_reason(error)})')


def restore_newest(saver: tf.train.Saver, session: tf.Session, run: str) -> Optional[int]:
    """Restore all variables from the newest readable checkpoint of `run`; return its step."""
    newest = newest_checkpoint(run)
    if newest is None:
        return None
    restore(saver, session, newest.path, {v.op.name: v for v in tf.global_variables()})
    return newest.step


def save(saver: tf.train.Saver, session: tf.Session, run: str, step: int) -> None:
    """Save the variables of `saver`, so that the checkpoint is whole if it is there at all.

    The files get their names when the disk has their contents, and this returns when the disk has
    the names. Raises UserError if the disk is full or fails.
    """
    folder, temporary = runs.train_dir(run), _path(run, step, _TEMPORARY)
    with explain_disk_errors(run, _path(run, step)):
        with _without_pattern(temporary) as name:
            session.run(saver.saver_def.save_tensor_name,
                        {saver.saver_def.filename_tensor_name: name})
        pattern = re.escape(os.path.basename(temporary)) + f'({_ENDING})'
        matches = [re.fullmatch(pattern, name) for name in sorted(os.listdir(folder))]
        endings = [match.group(1) for match in matches if match]
        for ending in endings:
            files.sync(temporary + ending)
        files.sync(folder)
        _delete(run, step)  # a damaged one
        for ending in endings:  # sorted: the data first, so that no index is without them
            os.replace(temporary + ending, _path(run, step, ending))
        files.sync(folder)


def _delete(run: str, step: int) -> None:
    """Delete the files of one checkpoint, the index first: the rest alone is no checkpoint."""
    for name in sorted(os.listdir(runs.train_dir(run)), reverse=True):
        if re.fullmatch(rf'{PREFIX}-{step}(?:{_ENDING}|\.meta)', name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(runs.train_dir(run), name))


def remove_leftovers(run: str) -> None:
    """Remove the temporary files of saves that were killed. The caller holds the lock of `run`."""
    for name in os.listdir(runs.train_dir(run)):
        if _LEFTOVER.fullmatch(name):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(runs.train_dir(run), name))


def _sync_parents(run: str) -> None:
    """Let a new run survive a power cut: the folders that it made are names in other folders."""
    folder = os.path.abspath(run)
    while folder != os.path.dirname(folder):
        with contextlib.suppress(OSError):
            files.sync(folder)
        folder = os.path.dirname(folder)


def _write_state(run: str, steps: List[int]) -> None:
    """Write the file `checkpoint`, which tells TensorFlow's tools which checkpoints there are."""
    names = [('model_checkpoint_path', step) for step in steps[-1:]]
    names += [('all_model_checkpoint_paths', step) for step in steps]
    files.write_atomically(os.path.join(runs.train_dir(run), 'checkpoint'), ''.join(
        f'{field}: "{PREFIX}-{step}"\n' for field, step in names))


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
        self.saver = tf.train.Saver()
        remove_leftovers(run)
        _sync_parents(run)
        newest = newest_checkpoint(run)
        if newest:
            verify_compatible(newest.path, {v.op.name: v for v in tf.global_variables()})
        # Those passed over stay until their step is saved again.
        self._kept = [step for step in list_checkpoints(run) if newest and step <= newest.step]
        _write_state(run, self._kept)
        self._run = run
        self._config = config
        self._step = step
        self._is_finite = tf.reduce_all(
            [tf.reduce_all(tf.is_finite(variable)) for variable in tf.trainable_variables()])
        self._start_time = time.monotonic()
        # None if status.json does not say how long the steps before this start took.
        self._seconds_before = runs.read_status(run).get('train_seconds')

    def after_create_session(self, session: tf.Session, unused_coord: Any) -> None:
        step = int(session.run(tf.train.get_global_step()))
        self._last_step, self._last_time = step, time.monotonic()
        if step not in self._kept:
            self._save(session, step)  # so that a full disk shows now, not in an hour

    def before_run(self, unused_context: Any) -> tf.train.SessionRunArgs:
        return tf.train.SessionRunArgs(self._step)

    def after_run(self, context: Any, run_values: Any) -> None:
        step, save_secs = int(run_values.results), self._config.save_secs
        if (crossed_multiple_of(self._config.save_steps, self._last_step, step) or
                save_secs and time.monotonic() - self._last_time >= save_secs):
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
        save(self.saver, session, self._run, step)
        self._kept = [each for each in self._kept if each != step] + [step]
        deleted = self._kept[:-self._config.max_to_keep] if self._config.max_to_keep else []
        self._kept = self._kept[len(deleted):]
        _write_state(self._run, self._kept)
        for each in deleted:
            _delete(self._run, each)
        self._last_step, self._last_time = step, time.monotonic()
        times = {}
        if self._seconds_before is not None:
            seconds = self._seconds_before + time.monotonic() - self._start_time
            images = step * self._config.recipe.batch_size
            times = {'train_seconds': round(seconds, 1),
                     'images_per_second': round(images / seconds, 1)}
        runs.write_status(self._run, step=step, **times)


@contextlib.contextmanager
def explain_disk_errors(run: str, path: Optional[str] = None) -> Iterator[None]:
    """Context that turns the error of a full or failing disk into a UserError.

    The error is about `path`, unless it names another file. The run is marked as stopped, and the
    temporary files of an interrupted save are removed.
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        if not os.path.isdir(runs.train_dir(run)):
            raise UserError(f'{runs.train_dir(run)} was removed while training: start another run')
        reasons = {os.strerror(code): advice for code, advice in ADVICE.items()}
        match = re.search(f"(?:([^;\n]+); )?({'|'.join(map(re.escape, reasons))})", str(error))
        if not match:
            raise
        path = (getattr(error, 'filename2', None) or getattr(error, 'filename', None) or path or
                match.group(1) or run)
        step: Any = 'none'
        with contextlib.suppress(OSError, UserError):
            remove_leftovers(run)
            newest = newest_checkpoint(run)
            step = newest.step if newest else step
            runs.write_status(run, state='stopped')
        verb = 'write' if os.path.abspath(path).startswith(os.path.abspath(run)) else 'read'
        raise UserError(f'cannot {verb} {path} ({match.group(2)}): {reasons[match.group(2)]}, then '
                        f'continue with --resume; last checkpoint: step {step}')

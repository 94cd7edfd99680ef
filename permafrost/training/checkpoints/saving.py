"""Saving and restoring checkpoints, so that one is whole if it is there at all."""

import contextlib
import errno
import os
import re
from typing import Any, Dict, Iterator, List, Optional

import tensorflow.compat.v1 as tf

from permafrost import files, runs
from permafrost.errors import OUT_OF_MEMORY, UserError
from permafrost.training.checkpoints import finding
from permafrost.training.checkpoints.finding import ENDING, PREFIX

_TEMPORARY = '.temp'  # follows the step while a checkpoint is being saved
# TensorFlow renames its own temporary files, .tempstate<number>, before ours are renamed.
_LEFTOVER = re.compile(rf'{PREFIX}-[0-9]+(?:{ENDING}\.tempstate[0-9]*|'
                       rf'{_TEMPORARY}{ENDING}(?:\.tempstate[0-9]*)?)')
# Advice for the errors of a disk.
ADVICE = {errno.ENOSPC: 'free disk space', errno.EDQUOT: 'free disk space or raise the quota',
          errno.EROFS: 'make it writable', errno.EACCES: 'make it writable',
          errno.EPERM: 'make it writable', errno.EIO: 'check the disk',
          errno.EISDIR: 'move it away',
          errno.EFBIG: 'raise the limit on the size of files (ulimit -f)'}


def restore(saver: tf.train.Saver, session: tf.Session, checkpoint: str,
            variables: Dict[str, tf.Variable]) -> None:
    """Restore `variables`, those of `saver`, after checking them as verify_compatible does."""
    finding.verify_compatible(checkpoint, variables)
    try:
        with finding.without_pattern(checkpoint) as name:
            session.run(saver.saver_def.restore_op_name,
                        {saver.saver_def.filename_tensor_name: name})
    except (tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.UnavailableError):
        raise  # a lost server
    except (tf.errors.OpError, OSError) as error:
        raise UserError(f'cannot restore {checkpoint} ({finding.reason(error)}): use another '
                        '--step, or start another run')


def restore_newest(saver: tf.train.Saver, session: tf.Session, run: str) -> Optional[int]:
    """Restore all variables from the newest readable checkpoint of `run`; return its step."""
    newest = finding.newest_checkpoint(run)
    if newest is None:
        return None
    restore(saver, session, newest.path, {v.op.name: v for v in tf.global_variables()})
    return newest.step


def save(saver: tf.train.Saver, session: tf.Session, run: str, step: int) -> int:
    """Save the variables of `saver`, so that the checkpoint is whole if it is there at all.

    The files get their names when the disk has their contents, and this returns when the disk has
    the names. Return the step of the checkpoint: `step`, or a later one if other workers of an
    asynchronous cluster have made steps meanwhile. Raises UserError if the disk is full or fails.
    """
    folder, temporary = runs.train_dir(run), finding.path_of(run, step, _TEMPORARY)
    with explain_disk_errors(run, finding.path_of(run, step)):
        with finding.without_pattern(temporary) as name:
            session.run(saver.saver_def.save_tensor_name,
                        {saver.saver_def.filename_tensor_name: name})
            step = int(tf.train.NewCheckpointReader(name).get_tensor('global_step'))
        pattern = re.escape(os.path.basename(temporary)) + f'({ENDING})'
        matches = [re.fullmatch(pattern, name) for name in sorted(os.listdir(folder))]
        endings = [match.group(1) for match in matches if match]
        for ending in endings:
            files.sync(temporary + ending)
        files.sync(folder)
        delete(run, step)  # a damaged one
        for ending in endings:  # sorted: the data first, so that no index is without them
            os.replace(temporary + ending, finding.path_of(run, step, ending))
        files.sync(folder)
    return step


def delete(run: str, step: int) -> None:
    """Delete the files of one checkpoint, the index first: without it the rest is not read."""
    for name in sorted(os.listdir(runs.train_dir(run)), reverse=True):
        if re.fullmatch(rf'{PREFIX}-{step}(?:{ENDING}|\.meta)', name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(runs.train_dir(run), name))


def remove_leftovers(run: str) -> None:
    """Remove the temporary files of saves that were killed. The caller holds the lock of `run`."""
    for name in os.listdir(runs.train_dir(run)):
        if _LEFTOVER.fullmatch(name):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(runs.train_dir(run), name))


def sync_parents(run: str) -> None:
    """Let a new run survive a power cut: the folders that it made are names in other folders."""
    folder = os.path.abspath(run)
    while folder != os.path.dirname(folder):
        with contextlib.suppress(OSError):
            files.sync(folder)
        folder = os.path.dirname(folder)


def write_state(run: str, steps: List[int]) -> None:
    """Write the file `checkpoint`, which tells TensorFlow's tools which checkpoints there are."""
    names = [('model_checkpoint_path', step) for step in steps[-1:]]
    names += [('all_model_checkpoint_paths', step) for step in steps]
    files.write_atomically(os.path.join(runs.train_dir(run), 'checkpoint'), ''.join(
        f'{field}: "{PREFIX}-{step}"\n' for field, step in names))


@contextlib.contextmanager
def unwrap_user_errors() -> Iterator[None]:
    """Context that raises a UserError that TensorFlow has turned into one of its own.

    A function in the graph has raised it.
    """
    try:
        yield
    except tf.errors.OpError as error:
        told = re.search('UserError: ([^\n]+)', str(error))
        if told:
            raise UserError(told.group(1))
        raise


@contextlib.contextmanager
def explain_disk_errors(run: str, path: Optional[str] = None) -> Iterator[None]:
    """Context that turns the error of a full or failing disk into a UserError, and unwraps others.

    The error is about `path`, unless it names another file. The run is marked as stopped, and the
    temporary files of an interrupted save are removed.
    """
    try:
        with unwrap_user_errors():
            yield
    except (OSError, tf.errors.OpError) as error:
        if not os.path.isdir(runs.train_dir(run)):
            raise UserError(f'{runs.train_dir(run)} was removed while training: start another run')
        reasons = {os.strerror(code): advice for code, advice in ADVICE.items()}
        match = re.search(f"(?:([^;\n]+); )?({'|'.join(map(re.escape, reasons))})", str(error))
        if not match:
            missing = re.search('([^;\n]+); No such file or directory', str(error))
            if isinstance(error, tf.errors.NotFoundError) and missing:
                raise UserError(f'{missing.group(1)} was removed while training: put it back, '
                                'then continue with --resume')
            if isinstance(error, tf.errors.ResourceExhaustedError):
                raise UserError(OUT_OF_MEMORY)
            raise
        path = (getattr(error, 'filename2', None) or getattr(error, 'filename', None) or path or
                match.group(1) or run)
        step: Any = 'none'
        with contextlib.suppress(OSError, UserError):
            remove_leftovers(run)
            newest = finding.newest_checkpoint(run)
            step = newest.step if newest else step
            runs.write_status(run, state='stopped')
        advice, verb = reasons[match.group(2)], 'write'
        place, inside = (os.path.join(os.path.abspath(each), '') for each in (path, run))
        if not place.startswith(inside):
            advice, verb = advice.replace('writable', 'readable'), 'read'
        raise UserError(f'cannot {verb} {path} ({match.group(2)}): {advice}, then continue with '
                        f'--resume; last checkpoint: step {step}')

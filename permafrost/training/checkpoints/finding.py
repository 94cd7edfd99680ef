"""Finding checkpoints: which there are, and which of them can be read.

    model.ckpt-<step>.index                 names, shapes and checksums of the variables
    model.ckpt-<step>.data-00000-of-00001   their values
    checkpoint                              the steps that are kept, for TensorFlow's own tools

TensorFlow treats paths as glob patterns and assumes that a file with the right name is complete.
This module does neither.
"""

import contextlib
import errno
import functools
import operator
import os
import re
import stat
import sys
import tempfile
from typing import Any, Dict, Iterator, NamedTuple, Optional, Tuple, Union

import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.errors import UsageError, UserError, one_line, printable

PREFIX = 'model.ckpt'
BEST = 'best'  # as a step: that of the best validation accuracy
ENDING = r'\.(?:index|data-[0-9]{5}-of-[0-9]{5})'


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
    return {step: path_of(run, step)
            for step in sorted(int(each.group(1)) for each in steps if each)}


def path_of(run: str, step: int, ending: str = '') -> str:
    """Return the path prefix of the checkpoint of `run` at `step`, with an `ending` if given."""
    return os.path.join(runs.train_dir(run), f'{PREFIX}-{step}{ending}')


def newest_checkpoint(run: str) -> Optional[Checkpoint]:
    """Return the newest readable checkpoint of `run`, None if it has none at all.

    A note says once which newer ones are skipped, and why. They are kept until the training
    saves their step again. Raises UserError if none of several is readable.
    """
    checkpoints = list_checkpoints(run)
    for step, path in sorted(checkpoints.items(), reverse=True):
        problem = find_problem(path)
        if problem is None:
            return Checkpoint(step, path)
        if not os.path.lexists(path + '.index'):
            return newest_checkpoint(run)  # a training has just deleted it
        _print_once(f'note: {printable(path)} is skipped: {problem}')
    if checkpoints:
        raise UserError(f'none of the checkpoints in {runs.train_dir(run)} can be read: copy them '
                        'again, or start another run')
    return None


@functools.lru_cache(maxsize=None)
def _print_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # stdout may be for an answer


def last_step(run: str) -> int:
    """Return the step of the newest readable checkpoint of `run`; 0 if there is none."""
    newest = newest_checkpoint(run)
    return newest.step if newest else 0


def find_checkpoint(run: str, step: Union[int, str, None] = None) -> Checkpoint:
    """Return the checkpoint at `step`, by default the newest that can be read.

    `step` may be BEST. Raises UserError if there is none yet or it is damaged, UsageError if there
    is none at `step`.
    """
    if step == BEST:
        step = runs.read_status(run).get('best_step')
        if step is None:
            why = ('it has not been evaluated during training yet'
                   if runs.read_config(run)[0].validation else
                   'only training with --validation N keeps one')
            raise UsageError(f'{run} has no best checkpoint: {why}; name another --step')
    checkpoints = list_checkpoints(run)
    newest = newest_checkpoint(run) if step is None else None
    if newest is not None:
        return newest
    if step is None or not checkpoints:
        raise UserError(f'no checkpoint in {runs.train_dir(run)} yet: train first, or wait for '
                        'the first save')
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
                 if re.fullmatch(re.escape(name) + ENDING, each)]
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
        return reason(error)
    if path.endswith(f'-{step}'):
        return None
    return f'it is the checkpoint of step {step}'


def reason(error: Exception) -> str:
    """Return TensorFlow's message about a checkpoint, without the name of without_pattern."""
    return re.sub(rf'\S+/(?={PREFIX}-)', '', one_line(error))


@contextlib.contextmanager
def without_pattern(path: str) -> Iterator[str]:
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
    with without_pattern(path) as name:
        yield tf.train.NewCheckpointReader(name)


def verify_compatible(checkpoint: str, variables: Dict[str, tf.Variable]) -> None:
    """Raise UserError unless a checkpoint has `variables`, {name: variable}, with their shapes.

    Restoring does not check this: a resource variable accepts whatever shape the file has.
    """
    try:
        with open_checkpoint(checkpoint) as reader:
            shapes = reader.get_variable_to_shape_map()
    except (tf.errors.OpError, OSError) as error:
        raise UserError(f'cannot read {checkpoint} ({reason(error)}): use another --step, or start '
                        'another run')
    for name, variable in sorted(variables.items()):
        if shapes.get(name) != variable.shape.as_list():
            problem = f'has shape {shapes[name]}' if name in shapes else 'is missing'
            raise UserError(f'{checkpoint} does not fit this model: {name} {problem}, expected '
                            f'shape {variable.shape.as_list()}. Use a run of this model, or '
                            'start a new one')

"""The run directory `<log_dir>/<model>/<n>/`: its config.json, status.json and lock.

docs/training.md lists all its files. Nothing here imports TensorFlow, so that a wrong directory
fails before the slow import.
"""

import calendar
import contextlib
import dataclasses
import glob
import os
import pathlib
import re
import socket
import time
from typing import Any, ContextManager, Dict, List, Optional, Sequence, Tuple

from permafrost import files, schema
from permafrost.cli.commands import next_command
from permafrost.config import Config
from permafrost.errors import UsageError, UserError, printable
from permafrost.schema import limited

DATE = '%Y-%m-%dT%H:%M:%SZ'
STALE_SECS = 900.  # several times the usual time between two checkpoints
STATES = ('running', 'stopped', 'done', 'failed')
DAMAGED = 'restore it, or start another run'
TEACHER = 'teacher.pb'  # in a run: a copy of the graph that it learns from, so that it can be moved


@dataclasses.dataclass
class ConfigFile:
    """The fields of config.json."""
    config: Dict[str, Any]
    classes: Tuple[str, ...] = limited(
        count=(1, 1000000), test=schema.is_utf8, meaning='text in UTF-8')
    versions: Tuple[Dict[str, str], ...] = ()  # each engine that trained it: engines.versions
    train_images: int = limited(1, minimum=1)
    command: str = ''
    dataset_identity: str = limited(
        '', earlier='data_set_identity', test=re.compile('[0-9a-f]{1,64}').fullmatch,
        meaning='a hexadecimal sha256')
    teacher_sha256: str = limited('', test=re.compile('[0-9a-f]{64}').fullmatch,
                                  meaning='a hexadecimal sha256')


def is_date(text: str) -> bool:
    """Return whether `text` is a date as utc_now writes it."""
    with contextlib.suppress(ValueError):
        return bool(time.strptime(text, DATE))
    return False


@dataclasses.dataclass
class StatusFile:
    """The fields of status.json."""
    state: str = limited('', names=STATES)
    host: str = ''
    recipe: str = ''  # its name, and what differs from the catalog's
    updated: str = limited('', test=is_date, meaning='a date such as 2026-01-31T12:00:00Z')
    step: int = limited(0, minimum=0)
    train_seconds: float = limited(0., minimum=0)
    images_per_second: float = limited(0., minimum=0)
    best_step: Optional[int] = limited(None, minimum=0)  # of the best validation accuracy
    best_accuracy: Optional[float] = limited(None, minimum=0, maximum=1)


def create(log_dir: str, model: str, directory: Optional[str] = None) -> str:
    """Create a run directory: `directory`, or the next number under `<log_dir>/<model>`.

    Raises UserError if it cannot be written, or already contains a run.
    """
    if directory is not None:
        refuse_existing(directory)
    try:
        if directory is None:
            directory = _make_next_number(os.path.join(log_dir, model))
        files.make_folder(train_dir(directory))
        if not os.access(train_dir(directory), os.W_OK):
            raise PermissionError(13, 'Permission denied')
    except OSError as error:
        raise UserError(f'cannot write to {directory or log_dir} ({error.strerror}): name another '
                        '--log_dir or --run')
    return directory


def _make_next_number(parent: str) -> str:
    files.make_folder(parent)
    number = max([int(name) for name in os.listdir(parent) if name.isdecimal()], default=0)
    while True:
        number += 1
        with contextlib.suppress(FileExistsError):  # another training has just taken that number
            os.mkdir(os.path.join(parent, str(number)))
            files.sync(parent)
            return os.path.join(parent, str(number))


def refuse_existing(run: str) -> None:
    """Raise UserError if `run` cannot be the directory of a new run, since it has other uses."""
    if os.path.isfile(run):
        raise UserError(f'{printable(run)} is a file: name another --run')
    if exists(run):
        raise UserError(f'{run} already contains a run: add --resume to continue it, or name '
                        'another --run')
    if glob.glob(os.path.join(glob.escape(train_dir(run)), 'model.ckpt-*')):
        raise UserError(f'{printable(run)} has checkpoints, but no config.json: restore it, or '
                        'name another --run')
    outer = _outer_run(run)
    if outer:
        raise UserError(f'{printable(run)} is inside the run {printable(outer)}: name another '
                        '--run')
    if os.path.exists(os.path.join(run, 'manifest.json')):
        raise UserError(f'{printable(run)} holds a packed dataset: name another --run')


def _outer_run(path: str) -> Optional[str]:
    """Return the run directory that has `path` inside; None if there is none."""
    parents = map(str, pathlib.Path(path).parents)
    return next((each for each in parents
                 if exists(each) and os.path.isdir(train_dir(each))), None)


def exists(run: str) -> bool:
    """Return whether `run` is a run directory."""
    return os.path.exists(os.path.join(run, 'config.json'))


def list_runs(log_dir: str, model: Optional[str] = None) -> List[str]:
    """Return the run directories under `log_dir`, the most recently used last.

    They are <log_dir>/<model>/<n>, of one `model` if it is given; if not, also <log_dir>/<name>. A
    training uses its run when it starts and at each save.
    """
    folders = [os.path.join(log_dir, model)] if model else _folders_in(log_dir)
    paths = ([] if model else folders) + [run for path in folders for run in _folders_in(path)]
    used: Dict[str, float] = {}
    for run in filter(exists, paths):
        for name in ('config.json', 'status.json'):
            with contextlib.suppress(OSError):  # it may be being deleted
                used[run] = max(os.stat(os.path.join(run, name)).st_mtime, used.get(run, 0.))
    return sorted(used, key=lambda run: used[run])


def _folders_in(folder: str) -> List[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # no folder
        return []
    return [os.path.join(folder, name) for name in names if not name.startswith('.')]


def latest_run(log_dir: str) -> str:
    """Return the most recently used run under `log_dir`. Raises UserError if there is none."""
    directories = list_runs(log_dir)
    if not directories:
        train = next_command('train.py')
        raise UserError(f'no run under {log_dir}: train one with {train}, or name it with --run')
    return directories[-1]


def write_config(run: str, config: Config, extra: Dict[str, Any]) -> None:
    """Write config.json: `config` and `extra` (classes, versions, ...).

    It stores data_dir relative to the run, so that both can be moved together.
    """
    value = config.to_json()
    if config.data_dir is not None:
        # Of the real paths: `run` may be reached by a link.
        value['data_dir'] = os.path.relpath(os.path.realpath(config.data_dir),
                                            os.path.realpath(run))
    files.write_json(os.path.join(run, 'config.json'), dict(extra, config=value))


def read_config(run: str) -> Tuple[Config, Dict[str, Any]]:
    """Return the Config and the extra values of config.json.

    Raises UserError if `run` is not a run directory, or its config.json is damaged.
    """
    path = os.path.join(run, 'config.json')
    try:
        extra = schema.read(path, ConfigFile, DAMAGED)
    except (FileNotFoundError, NotADirectoryError):
        inside = _outer_run(run)
        fix = f'name {printable(inside)}' if inside else 'name one such as runs/tuto/1'
        raise UserError(f'{printable(run)} is not a run directory (no config.json): {fix}'
                        ) from None
    try:
        config = Config.from_json(extra.pop('config'), 'config')
    except UsageError as error:
        raise UserError(f'{printable(path)} is damaged ({error}): {DAMAGED}') from None
    if config.data_dir is not None:
        data_dir = os.path.normpath(os.path.join(os.path.realpath(run), config.data_dir))
        config = dataclasses.replace(config, data_dir=data_dir)
    return config, extra


def check_data(run: str, extra: Dict[str, Any], dataset: Any, resuming: bool = False) -> bool:
    """Return whether `dataset` is the one that `run` was trained on; print a note if it is not.

    `extra` is from read_config. Raises UserError if the classes differ or, when resuming, if any
    file does.
    """
    run, directory = printable(run), printable(dataset.directory)
    if list(dataset.classes) != extra['classes']:
        raise UserError(
            f"{run} was trained on {_summary(extra['classes'])}, but {directory} has "
            f'{_summary(dataset.classes)}: name the dataset of the run with --data_dir')
    identity = extra.get('dataset_identity', dataset.identity)
    if identity != dataset.identity:
        change = (f'{directory} has changed since {run} was started, or is another dataset '
                  f'({dataset.identity[:12]}... instead of {identity[:12]}...)')
        if resuming:
            raise UserError(f'{change}: restore it, or start another run')
        print(f'note: {change}; the metrics are of the changed dataset', flush=True)
    return identity == dataset.identity


def _summary(classes: Sequence[str]) -> str:
    more = ', ...' if len(classes) > 5 else ''
    names = ', '.join(name[:40] for name in classes[:5])
    return f'{len(classes)} classes ({printable(names)}{more})'


def train_dir(run: str) -> str:
    """Return the directory of the checkpoints and events of `run`."""
    return os.path.join(run, 'train')


def read_status(run: str) -> Dict[str, Any]:
    """Return the fields of status.json; none if there is no such file yet, or it is damaged."""
    return schema.read_if_valid(os.path.join(run, 'status.json'), StatusFile, {})


def write_status(run: str, **fields: Any) -> None:
    """Update `fields` of status.json."""
    files.write_json(os.path.join(run, 'status.json'),
                     dict(read_status(run), updated=utc_now(), **fields))


def utc_now() -> str:
    """Return the date and time in UTC, as results and status.json hold it."""
    return time.strftime(DATE, time.gmtime())


def lock(run: str) -> ContextManager[None]:
    """Return a context that holds the lock of `run`, so that only one training writes to it.

    Raises UserError if another process holds the lock.
    """
    def on_wait():  # is_running holds it for a moment too
        if is_running(run):
            raise UserError(f'another process is training in {run}: wait for it, or start another '
                            'run')
    return files.locked(os.path.join(run, 'lock'), on_wait)


def is_running(run: str) -> bool:
    """Return whether a process trains in `run` now.

    Locks of another host may not be visible here, and some file systems have none: then
    status.json decides, until STALE_SECS after the last save.
    """
    if not os.path.exists(os.path.join(run, 'lock')):
        return False
    is_locked = files.is_locked(os.path.join(run, 'lock'))
    status = read_status(run)
    if is_locked or status.get('state') != 'running':
        return bool(is_locked)
    if is_locked is False and status.get('host') in (None, socket.gethostname()):
        return False
    if 'updated' not in status:
        return False
    age = time.time() - calendar.timegm(time.strptime(status['updated'], DATE))
    return abs(age) < STALE_SECS  # a clock may be ahead


def state(run: str, config: Config) -> Tuple[str, int]:
    """Return the state of `run` and its last step.

    The states are those of status.json and 'not started', 'empty' (no step saved) and 'killed'.
    """
    status = read_status(run)
    value, step = status.get('state', 'not started'), status.get('step', 0)
    if is_running(run):
        value = 'running'
    elif value == 'running' or (not status and os.path.isdir(train_dir(run))):
        value = 'killed' if status else 'empty'
    if step >= config.steps and value in ('killed', 'stopped'):
        value = 'done'
    return value, step

"""The run directory `<log_dir>/<model>/<n>/`: its config.json, status.json and lock.

    config.json     the Config, the dataset's classes, versions and engine
    status.json     state (running, stopped, done, failed), host, step, seconds trained
    cluster.json    the hosts of a cluster's tasks
    lock            held by the training process while it lives
    train/          checkpoints and events
    eval/<split>/   events, metrics.jsonl, best.json

Nothing here imports TensorFlow, so that a wrong directory fails before the slow import.
"""

import calendar
import contextlib
import fcntl
import glob
import json
import os
import socket
import time
from typing import Any, ContextManager, Dict, List, Optional, Sequence, Tuple

from permafrost import files
from permafrost.config import Config
from permafrost.errors import UserError

DATE = '%Y-%m-%dT%H:%M:%SZ'
STALE_SECS = 900.  # several times the usual time between two checkpoints


def create(log_dir: str, model: str, directory: Optional[str] = None) -> str:
    """Create a run directory: `directory`, or the next number under `<log_dir>/<model>`.

    Raises UserError if it cannot be written, or already contains a run.
    """
    if directory is not None:
        refuse_existing(directory)
    try:
        if directory is None:
            directory = _make_next_number(os.path.join(log_dir, model))
        os.makedirs(train_dir(directory), exist_ok=True)
        if not os.access(train_dir(directory), os.W_OK):
            raise PermissionError(13, 'Permission denied')
    except OSError as error:
        raise UserError(f'cannot write to {directory or log_dir} ({error.strerror}): name another '
                        '--log_dir or --run')
    return directory


def _make_next_number(parent: str) -> str:
    os.makedirs(parent, exist_ok=True)
    number = max([int(name) for name in os.listdir(parent) if name.isdigit()], default=0)
    while True:
        number += 1
        with contextlib.suppress(FileExistsError):  # another training has just taken that number
            os.mkdir(os.path.join(parent, str(number)))
            return os.path.join(parent, str(number))


def refuse_existing(run: str) -> None:
    """Raise UserError if `run` is a run directory already."""
    if exists(run):
        raise UserError(f'{run} already contains a run: add --resume to continue it, or name '
                        'another --run')


def exists(run: str) -> bool:
    """Return whether `run` is a run directory."""
    return os.path.exists(os.path.join(run, 'config.json'))


def list_runs(log_dir: str, model: Optional[str] = None) -> List[str]:
    """Return the run directories under `log_dir` (of `model`), the most recently used last."""
    paths = glob.glob(os.path.join(glob.escape(log_dir), model or '*', '*', 'config.json'))
    return [os.path.dirname(path) for path in sorted(paths, key=os.path.getmtime)]


def latest_run(log_dir: str) -> str:
    """Return the most recently used run under `log_dir`. Raises UserError if there is none."""
    directories = list_runs(log_dir)
    if not directories:
        raise UserError(f'no run under {log_dir}: train one with train.py, or name it with --run')
    return directories[-1]


def write_config(run: str, config: Config, extra: Dict[str, Any]) -> None:
    """Write config.json: `config` and `extra` (classes, versions, ...).

    It stores data_dir relative to the run, so that both can be moved together.
    """
    value = config.to_json()
    if config.data_dir is not None:
        value['data_dir'] = os.path.relpath(config.data_dir, run)
    files.write_json(os.path.join(run, 'config.json'), dict(extra, config=value))


def read_config(run: str) -> Tuple[Config, Dict[str, Any]]:
    """Return the Config and the extra values of config.json.

    Raises UserError if `run` is not a run directory, or its config.json is damaged.
    """
    path = os.path.join(run, 'config.json')
    try:
        with open(path) as stream:
            extra = json.load(stream)
        value = extra.pop('config')
        if value['data_dir'] is not None:
            value['data_dir'] = os.path.normpath(os.path.join(run, value['data_dir']))
        if 'data_set_identity' in extra:  # its name in earlier versions
            extra['dataset_identity'] = extra.pop('data_set_identity')
        return Config.from_json(value), extra
    except FileNotFoundError:
        raise UserError(f'{run} is not a run directory (no config.json): name one such as '
                        'runs/tuto/1')
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f'{path} is damaged ({error}): restore it, or start another run')


def check_data(run: str, extra: Dict[str, Any], dataset: Any, resuming: bool = False) -> bool:
    """Return whether `dataset` is the one that `run` was trained on; print a note if it is not.

    `extra` is from read_config. Raises UserError if the classes differ or, when resuming, anything.
    """
    if list(dataset.classes) != extra['classes']:
        raise UserError(
            f"{run} was trained on {_summary(extra['classes'])}, but {dataset.directory} has "
            f'{_summary(dataset.classes)}: name the dataset of the run with --data_dir')
    identity = extra.get('dataset_identity', dataset.identity)
    if identity != dataset.identity:
        change = (f'{dataset.directory} has changed since {run} was started '
                  f'({dataset.identity[:12]}... instead of {identity[:12]}...)')
        if resuming:
            raise UserError(f'{change}: restore it, or start another run')
        print(f'note: {change}; the metrics are of the changed dataset', flush=True)
    return identity == dataset.identity


def _summary(classes: Sequence[str]) -> str:
    more = ', ...' if len(classes) > 5 else ''
    return f"{len(classes)} classes ({', '.join(classes[:5])}{more})"


def train_dir(run: str) -> str:
    """Return the directory of the checkpoints and events of `run`."""
    return os.path.join(run, 'train')


def read_status(run: str) -> Dict[str, Any]:
    """Return the fields of status.json; none if there is no such file yet."""
    return files.read_json(os.path.join(run, 'status.json'), {})


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

    Locks of another host may not be visible here: for those status.json decides, until STALE_SECS
    after the last save.
    """
    try:
        with open(os.path.join(run, 'lock')) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    status = read_status(run)
    if status.get('state') != 'running' or status.get('host') in (None, socket.gethostname()):
        return False
    return time.time() - calendar.timegm(time.strptime(status['updated'], DATE)) < STALE_SECS

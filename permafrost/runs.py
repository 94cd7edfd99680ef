"""Run directories: `<log_dir>/<model>/<n>/`, their config.json, checkpoints and state.

    config.json     the Config, the data set's classes, versions and engine
    status.json     state (running, stopped, done, failed), host, step, seconds trained
    cluster.json    the hosts of a cluster's tasks
    lock            held by the training process as long as it lives
    train/          checkpoints and events
    eval/<split>/   events, metrics.jsonl, best.json

Nothing here imports TensorFlow: wrong directories are answered before the slow import.
"""

import contextlib
import datetime
import fcntl
import glob
import json
import os
import socket
import time

from permafrost import files
from permafrost.config import Config
from permafrost.errors import UserError
DATE = '%Y-%m-%dT%H:%M:%SZ'
STALE_SECS = 900.  # several times what passes between two checkpoints


def create(log_dir, model, directory=None):
    """A new run directory: `directory`, or the next number under `<log_dir>/<model>`.

    Raises:
      UserError: it cannot be made or written, or holds a run already.
    """
    if directory is not None:
        if exists(directory):
            raise UserError('%s holds a run already: add --resume to continue it, or name '
                            'another --run' % directory)
        _make(os.path.join(directory, 'train'))
        return directory
    parent = os.path.join(log_dir, model)
    _make(parent)
    number = max([int(name) for name in os.listdir(parent) if name.isdigit()], default=0) + 1
    while True:
        directory = os.path.join(parent, str(number))
        try:
            os.mkdir(directory)
        except FileExistsError:  # another training took that number just now
            number += 1
            continue
        except OSError as error:
            raise _unusable(directory, error)
        _make(os.path.join(directory, 'train'))
        return directory


def _make(directory):
    try:
        os.makedirs(directory, exist_ok=True)
        if not os.access(directory, os.W_OK):
            raise PermissionError(13, 'Permission denied')
    except OSError as error:
        raise _unusable(directory, error)


def _unusable(directory, error):
    return UserError('cannot write to %s (%s): name another --log_dir or --run' % (
        directory, error.strerror))


def exists(run):
    """Whether `run` is a run directory."""
    return os.path.exists(os.path.join(run, 'config.json'))


def list_runs(log_dir, model=None):
    """The run directories under `log_dir` (of `model`), the last used at the end."""
    found = glob.glob(os.path.join(glob.escape(log_dir), model or '*', '*', 'config.json'))
    return [os.path.dirname(path) for path in sorted(found, key=os.path.getmtime)]


def latest_run(log_dir):
    """The run under `log_dir` used last. Raises UserError where there is none."""
    found = list_runs(log_dir)
    if not found:
        raise UserError('no run under %s: train one with train.py, or name it with --run'
                        % log_dir)
    return found[-1]


def write_config(run, config, extra):
    """Writes config.json: `config`, and `extra` (classes, versions). The data directory is
    kept relative to the run, so both can be moved together."""
    value = config.to_json()
    if config.data_dir is not None:
        value['data_dir'] = os.path.relpath(config.data_dir, run)
    files.write_json(os.path.join(run, 'config.json'), dict(extra, config=value))


def read_config(run):
    """(Config, extra) of the run directory `run`.

    Raises UserError where there is no run, or its config.json cannot be read.
    """
    path = os.path.join(run, 'config.json')
    try:
        with open(path) as stream:
            extra = json.load(stream)
        value = extra.pop('config')
        if value['data_dir'] is not None:
            value['data_dir'] = os.path.normpath(os.path.join(run, value['data_dir']))
        return Config.from_json(value), extra
    except FileNotFoundError:
        raise UserError('%s is not a run directory (no config.json): name one such as '
                        'runs/tuto/1' % run)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError('%s is damaged (%s): restore it, or start another run' % (path, error))


def check_data(run, extra, dataset, resuming=False):
    """Whether `data_set` is what `run` was trained on; says where it is not.

    `extra` is what read_config gave with it.
    Raises UserError where its classes are others, or, when `resuming`, anything is.
    """
    here = list(dataset.classes)
    if here != extra['classes']:
        raise UserError('%s was trained on %d classes (%s), and %s has %d (%s): name the data set '
                        'that it was trained on with --data_dir' % (
                            run, len(extra['classes']), _some(extra['classes']),
                            dataset.directory, len(here), _some(here)))
    then = extra.get('data_set_identity', dataset.identity)
    if then != dataset.identity:
        changed = '%s has changed since %s was started (%s... instead of %s...)' % (
            dataset.directory, run, dataset.identity[:12], then[:12])
        if resuming:
            raise UserError(changed + ': bring back what it was, or start another run')
        print('note: %s: these figures are of what is there now' % changed, flush=True)
    return then == dataset.identity


def _some(names):
    return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')


def train_dir(run):
    return os.path.join(run, 'train')


def read_status(run):
    """The value of status.json; {} before the first."""
    try:
        with open(os.path.join(run, 'status.json')) as stream:
            return json.load(stream)
    except (FileNotFoundError, ValueError):
        return {}


def write_status(run, **fields):
    """Updates `fields` of status.json."""
    files.write_json(os.path.join(run, 'status.json'), dict(read_status(run), updated=utc_now(), **fields))


def utc_now():
    """UTC date and time as results carry it."""
    return datetime.datetime.utcnow().strftime(DATE)


@contextlib.contextmanager
def lock(run):
    """Holds the run's lock: two trainings never write to one directory.

    The system lets it go when the process ends, however it ends.
    """
    with open(os.path.join(run, 'lock'), 'a') as stream:
        for _ in range(20):  # who asks whether it is held holds it for a moment
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(.05)
        else:
            raise UserError('another process is training in %s: wait for it, or start another '
                            'run' % run)
        yield


def is_running(run):
    """Whether a process trains in `run` now: on this host by its lock; on another, whose locks may
    not be seen here, by its status, until AWAY_SECS after its last save."""
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
    saved = datetime.datetime.strptime(status['updated'], DATE)
    return (datetime.datetime.utcnow() - saved).total_seconds() < STALE_SECS

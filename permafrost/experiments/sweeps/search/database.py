"""The database of a search: Optuna's tables in a file, or on a server that machines share."""

import contextlib
import os
import time
import warnings
from typing import Iterator, List

import optuna
import sqlalchemy

from permafrost.errors import UsageError, UserError, one_line, printable
from permafrost.experiments.sweeps.study import without_password

HEARTBEAT_SECS, GRACE_SECS = 30, 240  # a trial whose process is silent for longer has failed
LOCK_SECS = 60  # for which SQLite waits while another process writes
OPEN_TRIES = 4  # another process may create the tables in the same moment
RETRIES = 3  # of a trial whose process was lost
# Optuna 4.9 has renamed it.
RetryCallback = getattr(optuna.storages, 'RetryHeartbeatStaleTrialCallback', None) or (
    optuna.storages.RetryFailedTrialCallback)
_CALLBACK = ('failed_trial_callback' if RetryCallback.__name__ == 'RetryFailedTrialCallback' else
             'heartbeat_stale_trial_callback')


def url_of(storage: str, folder: str) -> str:
    """Return the URL of the database: `storage`, or that of a file in `folder`. Raises UserError.
    """
    if storage:
        return storage
    url = sqlalchemy.engine.URL.create(
        'sqlite', database=os.path.join(os.path.abspath(folder), 'search.db'))
    text = url.render_as_string(hide_password=False)
    if sqlalchemy.engine.make_url(text) != url:  # SQLAlchemy 2.0 does not quote a ?
        raise UserError(f'{printable(folder)} cannot hold search.db, because its path contains ?: '
                        'rename STUDY')
    return text


def _with_driver(url: str) -> str:
    scheme, mark, rest = url.partition('://')
    # SQLAlchemy 2.1 takes postgresql for psycopg 3.
    return f'postgresql+psycopg2{mark}{rest}' if scheme in ('postgresql', 'postgres') else url


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Return the storage at `url`; a trial of a process that was lost is tried again."""
    url = _with_driver(url)
    options = {'connect_args': {'timeout': LOCK_SECS}} if url.startswith('sqlite') else {}
    for tries_left in reversed(range(OPEN_TRIES)):
        try:
            return optuna.storages.RDBStorage(
                url, options, heartbeat_interval=HEARTBEAT_SECS, grace_period=GRACE_SECS,
                **{_CALLBACK: RetryCallback(max_retry=RETRIES)})
        except sqlalchemy.exc.DBAPIError:
            if not tries_left:
                raise
        time.sleep(1)
    raise AssertionError('the last try returns or raises')


def study_name(storage: optuna.storages.RDBStorage, url: str, folder: str) -> str:
    """Return the name of the search of `folder`, which may have been renamed since it began."""
    names = optuna.get_all_study_names(storage) if url == url_of('', folder) else []
    return next(iter(names), os.path.basename(os.path.abspath(folder)))


def has_tables(url: str) -> bool:
    """Return whether the database exists and has tables of Optuna; create neither."""
    parsed = sqlalchemy.engine.make_url(_with_driver(url))
    if parsed.get_backend_name() == 'sqlite' and not os.path.exists(parsed.database or ''):
        return False
    with sqlalchemy.create_engine(parsed).connect() as connection:
        return sqlalchemy.inspect(connection).has_table('studies')


def count_begun(trials: List[optuna.trial.FrozenTrial]) -> int:
    """Return how many of the trials have begun, without those that repeat a lost one."""
    return sum(each.state != optuna.trial.TrialState.WAITING and not is_retry(each)
               for each in trials)


def is_retry(trial: optuna.trial.FrozenTrial) -> bool:
    """Return whether a trial repeats one whose process was lost."""
    return RetryCallback.retried_trial_number(trial) is not None


def shown(url: str) -> str:
    """Return the URL for messages, without its password."""
    query = any('pass' in name.lower() for name in sqlalchemy.engine.make_url(url).query)
    return printable(sqlalchemy.engine.make_url(
        without_password(url) if query else url).render_as_string(hide_password=True))


@contextlib.contextmanager
def damage_in_a_line(url: str) -> Iterator[None]:
    """Context that raises UserError for values in the tables that Optuna cannot read."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f'the database {shown(url)} is damaged ({one_line(error)}): restore it, '
                        'or use another STUDY') from None


@contextlib.contextmanager
def one_line_errors(url: str) -> Iterator[None]:
    """Context that raises UserError for what the database cannot do, and hides Optuna's notes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings('ignore', 'Heartbeat of storage is supposed')
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            yield
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError) as error:
        raise UsageError(f'--storage: {one_line(error)}') from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = one_line(str(error.__cause__ or error).split('\n(Background')[0])
        advice = ('check that its folder can be written and that the disk is not full'
                  if sqlalchemy.engine.make_url(url).get_backend_name() == 'sqlite' else
                  'check that the server is running and that --storage has the password')
        raise UserError(f'cannot use the database {shown(url)} ({reason}): {advice}') from None

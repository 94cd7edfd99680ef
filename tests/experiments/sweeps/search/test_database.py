"""The database of a search: its URL, its errors, who has the password."""

import optuna
import pytest
import sqlalchemy

from permafrost.errors import UserError
from permafrost.experiments.sweeps.search import database

NO_SERVER = 'cannot use the database postgresql://'


def test_the_default_is_a_file_in_the_study(tmp_path):
    assert database.url_of('mysql://x/y', 'z') == 'mysql://x/y'
    url = database.url_of('', str(tmp_path))
    assert url == f'sqlite:///{tmp_path}/search.db'
    with database.one_line_errors(url):
        database.open_storage(url)
    assert (tmp_path / 'search.db').exists()


def test_a_folder_with_a_question_mark_has_its_own_database(tmp_path):
    folder = tmp_path / 'a?b%3Fc'
    folder.mkdir()
    if sqlalchemy.__version__ < '2.1':
        with pytest.raises(UserError, match=r'cannot hold search.db, because its path contains \?: '
                                            'rename STUDY'):
            database.url_of('', str(folder))
        return
    url = database.url_of('', str(folder))
    with database.one_line_errors(url):
        database.open_storage(url)
    assert [path.name for path in folder.iterdir()] == ['search.db']
    assert list(tmp_path.iterdir()) == [folder]


def test_another_process_may_create_the_tables_in_the_same_moment(tmp_path, monkeypatch):
    tries = []

    def fail_once(*arguments, **options):
        tries.append(arguments)
        if len(tries) == 1:  # as PostgreSQL did
            raise sqlalchemy.exc.IntegrityError('CREATE TYPE', {}, Exception('already exists'))
        return storage(*arguments, **options)

    storage = optuna.storages.RDBStorage
    monkeypatch.setattr(optuna.storages, 'RDBStorage', fail_once)
    monkeypatch.setattr(database.time, 'sleep', lambda seconds: None)
    with database.one_line_errors('sqlite://'):
        assert isinstance(database.open_storage(f'sqlite:///{tmp_path}/x.db'), storage)
    assert len(tries) == 2


@pytest.mark.parametrize('url, code, reason', [
    ('nonsense', 2, 'Could not parse'), ('colours://x/y', 2, 'colours'),
    ('sqlite:////nonexistent/x.db', 1, 'unable to open'),
    ('postgresql://127.0.0.1:9/x?password=secret', 1, NO_SERVER + '127.0.0.1:9/x'),
    ('postgresql://127.0.0.1:9/x?sslpassword=secret', 1, NO_SERVER + '127.0.0.1:9/x'),
    ('postgresql://me:secret@127.0.0.1:9/x', 1, NO_SERVER + 'me:***@127.0.0.1:9/x (')])
def test_a_database_that_does_not_work_is_one_line(url, code, reason, monkeypatch):
    monkeypatch.setattr(database.time, 'sleep', lambda seconds: None)
    with pytest.raises(UserError) as error, database.one_line_errors(url):
        database.open_storage(url)
    assert error.value.exit_code == code and reason in str(error.value)
    assert '\n' not in str(error.value) and 'secret' not in str(error.value)

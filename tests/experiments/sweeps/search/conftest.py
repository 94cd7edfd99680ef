"""A search in each kind of database: a file, or a PostgreSQL server."""

import contextlib
import glob
import os
import shutil
import subprocess
import tempfile

import psycopg2
import pytest

from permafrost.cluster import local_cluster
from permafrost.experiments.sweeps import study
from permafrost.experiments.sweeps.search import database, trials
from tests.experiments.sweeps import helpers


@pytest.fixture(scope='module')
def postgresql():
    """The URL of a PostgreSQL server of this test file, without the name of a database."""
    programs = sorted(glob.glob('/usr/lib/postgresql/*/bin'))
    if not programs or os.geteuid() != 0:
        pytest.skip('no PostgreSQL on this machine, or no right to start it as its own user')
    with tempfile.TemporaryDirectory() as folder:
        shutil.chown(folder, 'postgres')

        def call(program, *arguments):
            subprocess.run(['runuser', '-u', 'postgres', '--', f'{programs[-1]}/{program}', '-D',
                            folder + '/data', *arguments], check=True, stdout=subprocess.DEVNULL,
                           cwd='/')
        call('initdb', '-A', 'trust', '-U', 'test')
        port, = local_cluster.free_ports(1)  # here: initdb takes seconds
        call('pg_ctl', '-w', '-l', folder + '/log', '-o', f'-p {port} -h 127.0.0.1 -k {folder}',
             'start')
        try:
            yield f'postgresql://test@127.0.0.1:{port}/'
        finally:
            call('pg_ctl', '-m', 'immediate', 'stop')


@pytest.fixture(params=['sqlite', pytest.param('postgresql', marks=pytest.mark.slow)])
def url(request, tmp_path):
    """The URL of an empty database."""
    if request.param == 'sqlite':
        return f'sqlite:///{tmp_path}/search.db'
    server, name = request.getfixturevalue('postgresql'), f'test{os.urandom(4).hex()}'
    with contextlib.closing(psycopg2.connect(server + 'postgres')) as connection:
        connection.autocommit = True
        connection.cursor().execute(f'CREATE DATABASE {name}')
    return server + name


@pytest.fixture
def open_search(synthetic, tmp_path, url):
    """Return open_search(machine, *flags): a Search of the study `shared` in its own folder."""
    def open_it(machine, *flags, rates='log:0.01..1', momenta='0.5,0.8,0.9'):
        folder = str(tmp_path / machine / 'shared')
        with helpers.sweep_flags(*helpers.data_flags(
                synthetic, f'--vary=learning_rate={rates}', f'--vary=momentum={momenta}',
                '--search=3', *flags)) as values:
            the_study = study.from_flags(values, folder)
            with database.one_line_errors(url):
                return trials.Search(the_study, values, folder, url)
    return open_it

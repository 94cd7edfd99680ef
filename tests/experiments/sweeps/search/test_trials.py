"""The trials of a search: shared by processes, taken up again, pruned, never one too many."""

import contextlib
import glob
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time

import optuna
import psycopg2
import pytest
import sqlalchemy

from permafrost import runs
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import history
from permafrost.experiments.sweeps import study
from permafrost.experiments.sweeps.search import database, trials
from tests.experiments.sweeps import helpers
from tests.experiments.sweeps.test_plan import write_run

State = optuna.trial.TrialState


@pytest.fixture(scope='module')
def postgresql():
    """The URL of a PostgreSQL server of this test file, without the name of a database."""
    programs = sorted(glob.glob('/usr/lib/postgresql/*/bin'))
    if not programs or os.geteuid() != 0:
        pytest.skip('no PostgreSQL on this machine, or no right to start it as its own user')
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        shutil.chown(folder, 'postgres')
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
        free.close()

        def call(program, *arguments):
            subprocess.run(['runuser', '-u', 'postgres', '--', f'{programs[-1]}/{program}', '-D',
                            folder + '/data', *arguments], check=True, stdout=subprocess.DEVNULL,
                           cwd='/')
        call('initdb', '-A', 'trust', '-U', 'test')
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


def next_run(search):
    search._asked = -1e9  # ask at once
    with database.one_line_errors('sqlite://'):
        return search.next()


def train(run, *accuracies, state='done'):
    """Write what a training of `run` leaves behind."""
    if not runs.exists(run.directory):
        write_run(run)
    history.write(run.directory, [history.EpochRow(
        i, i, 1., 0., 'validation', 1., accuracy, .1, 1., 1.)
        for i, accuracy in enumerate(accuracies, 1)])
    runs.write_status(run.directory, state=state, step=20)


def states(search):
    return [trial.state for trial in search._optuna.get_trials()]


def test_processes_make_so_many_trials_together(open_search):
    first, second = open_search('a'), open_search('b')
    found = [next_run(search) for search in (first, second, first, second, first)]
    assert [run and run.variant for run in found] == ['trial0', 'trial1', 'trial2', None, None]
    assert len({str(run.config.recipe) for run in found[:3]}) == 3
    for search, run, accuracy in zip((first, second, first), found, (.3, .7, .5)):
        train(run, .1, accuracy)
        search.finished(run, '')
    assert [trial.value for trial in first._optuna.get_trials()] == [.3, .7, .5]
    assert first._optuna.best_trial.number == 1 and next_run(first) is next_run(second) is None
    assert first.is_empty() and second.is_empty()


def test_two_that_ask_at_once_do_not_make_one_too_many(open_search, monkeypatch):
    first, second = open_search('a', '--search=1'), open_search('b', '--search=1')
    ask = second._optuna.ask

    def ask_later():
        assert next_run(first).variant == 'trial0'
        return ask()

    monkeypatch.setattr(second._optuna, 'ask', ask_later)
    assert next_run(second) is None
    assert states(first) == [State.RUNNING, State.WAITING]
    more = open_search('c', '--search=2')
    assert next_run(more).variant == 'trial1', 'it is used when more trials are asked for'


def heartbeat(search, number):
    """Return the time of the last heartbeat of a trial."""
    trial = search._optuna.get_trials()[number]
    with sqlalchemy.create_engine(database._with_driver(search._storage.url)).connect() as each:
        return each.execute(sqlalchemy.text(
            f'SELECT heartbeat FROM trial_heartbeats WHERE trial_id = {trial._trial_id}')).scalar()


def test_a_trial_of_a_killed_process_is_taken_up_in_its_folder(open_search):
    killed = open_search('a')
    run = next_run(killed)
    assert next_run(open_search('a')).variant == 'trial1', 'its process lives'
    killed._trials[0].claims.close()  # as the end of its process does
    other = open_search('b')
    assert next_run(other).variant == 'trial2' and next_run(other) is None
    last = heartbeat(other, 0)
    time.sleep(1.1)
    again = next_run(open_search('a'))
    assert again == run and states(other) == [State.RUNNING] * 3
    assert heartbeat(other, 0) > last, 'so that no machine considers it lost'


def test_a_repetition_that_another_process_trains_is_left_to_it(open_search, capsys):
    """One of the same settings may end first: its result is not that of this trial."""
    first = open_search('a', rates='0.1', momenta='0.9')
    run = next_run(first)
    second = open_search('a', rates='0.1', momenta='0.9')
    again = next_run(second)
    train(run, .6)
    first.finished(run, '')
    third = open_search('a', rates='0.1', momenta='0.9')
    assert third._take_up() is None and not third.is_empty()
    assert states(third)[:2] == [State.COMPLETE, State.RUNNING]
    train(again, .7)
    second.finished(again, '')
    assert 'dead' not in capsys.readouterr().out
    assert states(third)[:2] == [State.COMPLETE] * 2


def test_a_trial_that_ended_a_moment_ago_is_not_taken_up(open_search, monkeypatch):
    first, second = open_search('a'), open_search('a')
    run = next_run(first)
    claim = trials.claim

    def claim_later(directory):
        train(run, .6)
        first.finished(run, '')
        return claim(directory)

    monkeypatch.setattr(trials, 'claim', claim_later)
    assert second._take_up() is None and not second._trials
    monkeypatch.setattr(trials, 'claim', claim)
    held = claim(run.directory)
    assert held, 'it was released'
    held.close()


def test_a_trial_that_another_process_has_ended_is_left_to_it(open_search, capsys):
    """As after this process was suspended."""
    search = open_search('a')
    run = next_run(search)
    train(run, .3)
    trial = search._trials[0]
    search._storage.set_trial_state_values(trial.id, state=State.FAIL)
    assert search.should_stop(run)
    search.finished(run, '')
    assert 'trial0: stopped: another process considered this one dead' in capsys.readouterr().out
    assert states(search)[0] == State.FAIL and not search._trials
    assert next_run(search).variant == 'trial1'


def test_a_trial_of_a_lost_machine_is_tried_again(open_search, monkeypatch):
    monkeypatch.setattr(database, 'HEARTBEAT_SECS', 1)
    monkeypatch.setattr(database, 'GRACE_SECS', 1)
    lost = next_run(open_search('a', '--search=1'))
    time.sleep(3)
    other = open_search('b', '--search=1')
    again = next_run(other)
    assert states(other) == [State.FAIL, State.RUNNING] and again.variant == 'trial1'
    assert again.config == lost.config
    train(again, .5)
    other.finished(again, '')
    assert next_run(other) is None and other.is_empty()


def test_a_trial_too_many_does_not_hide_that_of_a_lost_machine(open_search, monkeypatch):
    monkeypatch.setattr(database, 'HEARTBEAT_SECS', 1)
    monkeypatch.setattr(database, 'GRACE_SECS', 1)
    lost = open_search('a', '--search=1')
    next_run(lost)
    surplus = lost._optuna.ask()  # as another process does in the same moment
    lost._storage.set_trial_state_values(surplus._trial_id, state=State.WAITING)
    time.sleep(3)
    other = open_search('b', '--search=1')
    assert next_run(other).variant == 'trial2'
    assert states(other) == [State.FAIL, State.WAITING, State.RUNNING]


def test_a_bad_trial_is_stopped_early(open_search):
    search = open_search('a', '--search=9')
    good = next_run(search)
    train(good, .5, .6, .7, state='running')
    assert not search.should_stop(good)
    bad = next_run(search)
    train(bad, .1, state='running')
    assert search.should_stop(bad) and search.should_stop(bad)
    search.finished(bad, '')
    assert states(search) == [State.RUNNING, State.PRUNED]
    assert search._optuna.get_trials()[1].intermediate_values == {1: .1}


def test_a_bad_trial_that_has_finished_has_its_accuracy(open_search):
    search = open_search('a', '--search=9')
    train(next_run(search), .5, state='running')
    search._report(search._trials[0])
    bad = next_run(search)
    train(bad, .1)
    assert search.should_stop(bad)
    search.finished(bad, '')
    assert states(search)[1] == State.COMPLETE and search._optuna.get_trials()[1].value == .1


def test_a_failed_trial_counts(open_search, capsys):
    search = open_search('a', '--search=1')
    search.finished(next_run(search), 'loss became NaN')
    assert states(search) == [State.FAIL] and next_run(search) is None
    search.print_trials()
    assert capsys.readouterr().out.splitlines()[1:] == ['1 trials: 1 failed']


def fail(search, *problems):
    for problem in problems:
        run = next_run(search)
        if not problem:
            train(run, .5)
        search.finished(run, problem)


def test_failures_in_a_row_end_the_search(open_search):
    """A full disk would use up all trials in minutes."""
    search = open_search('a', '--search=30')
    fail(search, 'No space left on device', 'exit code 1', '', 'killed by signal 9', 'exit code 1')
    with pytest.raises(UserError, match='^3 trials in a row failed, the last one, trial5, with: '
                       'No space left .*then repeat the command$') as error:
        fail(search, 'No space left on device (x/train.log)')
    assert error.value.exit_code == 1 and not search._trials


def test_losses_that_diverge_do_not_end_a_search(open_search):
    search = open_search('a', '--search=30')
    fail(search, *['loss or weights became NaN or infinite at step 7 (x/train.log)'] * 4)
    assert states(search) == [State.FAIL] * 4


@pytest.mark.parametrize('error, count', [(UserError, 3), (UsageError, 5)])
def test_trials_that_cannot_begin_end_the_search_too(open_search, monkeypatch, error, count):
    """Unless their settings do not go together."""
    search = open_search('a', '--search=5')

    def fail_at_once(*unused):
        raise error('x.pb: missing')
    monkeypatch.setattr(trials.plan, 'configure', fail_at_once)
    with contextlib.suppress(UserError):
        assert next_run(search) is None
    assert states(search) == [State.FAIL] * count


def test_lost_results_in_a_row_end_the_search(open_search):
    search = open_search('a', '--search=30')
    with pytest.raises(UserError, match='3 trials .* with: results.csv has no evaluation'):
        for _ in range(3):
            run = next_run(search)
            train(run)
            search.finished(run, '')


def test_a_trial_is_the_mean_over_its_seeds(open_search):
    search = open_search('a', '--seeds=2', '--search=1')
    for seed, best in ((1, .4), (2, .8)):
        run = next_run(search)
        assert (run.variant, run.seed, run.config.seed) == ('trial0', seed, seed)
        train(run, best, .1)
        search.finished(run, '')
    trial, = search._optuna.get_trials()
    assert trial.value == pytest.approx(.6) and trial.state == State.COMPLETE


def test_settings_that_were_tried_are_not_trained_again(open_search, capsys):
    search = open_search('a', rates='0.1', momenta='0.9')
    run = next_run(search)
    train(run, .6)
    search.finished(run, '')
    assert next_run(search) is None and states(search) == [State.COMPLETE] * 3
    assert 'trial2: the same settings as trial0' in capsys.readouterr().out


def test_settings_that_diverged_are_not_trained_again(open_search, capsys):
    """Other failures, such as a full disk, do not tell that the settings are wrong."""
    search = open_search('a', '--search=4', rates='0.1', momenta='0.9')
    fail(search, 'No space left on device', 'loss or weights became NaN or infinite at step 7')
    assert next_run(search) is None and states(search) == [State.FAIL] * 4
    assert capsys.readouterr().out.count(': the same settings as trial1') == 2


def test_the_last_evaluation_of_the_first_seed_decides_on_the_others(open_search):
    search = open_search('a', '--search=9', '--seeds=2')
    good = next_run(search)
    train(good, .5, .6, .7)
    search.finished(good, '')
    next_run(search)  # its second seed
    bad = next_run(search)
    train(bad, .1)  # it ended before anybody looked
    search.finished(bad, '')
    assert states(search) == [State.RUNNING, State.PRUNED]


def test_machines_of_two_precisions_are_noted_once(open_search, capsys):
    search = open_search('a')
    next_run(search)
    search._optuna._storage.set_trial_user_attr(search._trials[0].id, 'compute_dtype', 'bfloat16')
    next_run(search), next_run(search)
    assert capsys.readouterr().out.count('note: the study mixes bfloat16 and float32') == 1


def test_a_search_of_other_settings_is_refused(open_search):
    open_search('a')
    with pytest.raises(UserError, match='a search shared with other settings'):
        open_search('b', '--epochs=7')


def test_a_renamed_folder_keeps_its_search(synthetic, tmp_path):
    for name in ('before', 'after'):
        folder = str(tmp_path / name)
        with helpers.sweep_flags(*helpers.data_flags(
                synthetic, '--vary=momentum=0.5,0.8', '--search=1')) as values:
            url = database.url_of('', folder)
            os.makedirs(folder, exist_ok=True)
            with database.one_line_errors(url):
                search = trials.Search(study.from_flags(values, folder), values, folder, url)
        if name == 'before':
            run = next_run(search)
            train(run, .5)
            search.finished(run, '')
            os.rename(folder, str(tmp_path / 'after'))
    assert states(search) == [State.COMPLETE] and next_run(search) is None


def test_a_run_of_other_settings_is_no_trial(open_search):
    run, other = next_run(open_search('a')), open_search('b')
    train(run, .5)
    shutil.copytree(run.directory, os.path.join(other._folder, 'runs', 'trial1', 'seed1'))
    with pytest.raises(UserError, match='trial1/seed1 was trained with .*learning_rate'):
        next_run(other)


@pytest.mark.parametrize('change', [
    "UPDATE study_user_attributes SET value_json = '{'", "UPDATE trials SET state = 'WEIRD'",
    "UPDATE trial_params SET distribution_json = '[1]'"])
def test_a_damaged_database_is_one_line(synthetic, tmp_path, change):
    folder, path = str(tmp_path), str(tmp_path / 'search.db')
    with helpers.sweep_flags(*helpers.data_flags(
            synthetic, '--vary=momentum=0.5,0.8', '--search=1')) as values:
        the_study, url = study.from_flags(values, folder), database.url_of('', folder)
        with database.one_line_errors(url):
            search = trials.Search(the_study, values, folder, url)
        next_run(search)
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            assert connection.execute(change).rowcount == 1
        with pytest.raises(UserError, match='search.db is damaged'), \
                database.one_line_errors(url):
            trials.Search(the_study, values, folder, url)


def test_a_run_whose_results_were_lost_has_failed(open_search):
    search = open_search('a')
    run = next_run(search)
    train(run)
    search.finished(run, '')
    assert states(search) == [State.FAIL]


def test_only_the_trials_of_the_own_search_count(tmp_path):
    url = f'sqlite:///{tmp_path}/shared.db'
    assert trials.num_begun(str(tmp_path / 'other'), url) == 0
    assert not (tmp_path / 'shared.db').exists()
    optuna.create_study(storage=url, study_name='other').ask()
    with database.one_line_errors(url):
        assert trials.num_begun(str(tmp_path / 'other'), url) == 1
        assert trials.num_begun(str(tmp_path / 'mine'), url) == 0

"""The trials of a search: shared by processes, taken up again, never one too many."""

import contextlib
import os
import shutil
import sqlite3

import optuna
import pytest

from permafrost import runs
from permafrost.datasets.synthetic import make_synthetic
from permafrost.errors import UserError
from permafrost.experiments.sweeps import study
from permafrost.experiments.sweeps.search import database, trials
from tests.experiments.sweeps import helpers
from tests.experiments.sweeps.search.helpers import State, age, heartbeat, next_run, states, train


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


def test_a_trial_of_a_killed_process_is_taken_up_in_its_folder(open_search):
    killed = open_search('a')
    run = next_run(killed)
    assert next_run(open_search('a')).variant == 'trial1', 'its process lives'
    killed._trials[0].claims.close()  # as the end of its process does
    other = open_search('b')
    assert next_run(other).variant == 'trial2' and next_run(other) is None
    last = age(other, 0)
    again = next_run(open_search('a'))
    assert again == run and states(other) == [State.RUNNING] * 3
    assert heartbeat(other, 0) > last, 'so that no machine considers it lost'


def test_a_trial_is_not_taken_up_while_one_of_its_seeds_still_saves(open_search):
    killed = open_search('a', '--seeds=2')
    run = next_run(killed)
    place = os.path.join(os.path.dirname(run.directory), 'seed2')
    os.makedirs(place)
    killed._trials[0].claims.close()
    second = open_search('a', '--seeds=2')
    with runs.lock(place):
        assert second._take_up() is None and not second.is_empty()
    assert second._take_up().trial.number == 0


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


def test_a_trial_that_trains_sends_heartbeats(open_search, monkeypatch):
    """Else another machine would consider it lost, and repeat it."""
    search = open_search('a')
    run = next_run(search)
    last = age(search, 0)
    assert not search.should_stop(run) and heartbeat(search, 0) == last  # it is not due
    monkeypatch.setattr(database, 'HEARTBEAT_SECS', 0)
    assert not search.should_stop(run) and heartbeat(search, 0) > last


def test_a_trial_of_a_lost_machine_is_tried_again(open_search):
    search = open_search('a', '--search=1')
    lost = next_run(search)
    age(search, 0)
    other = open_search('b', '--search=1')
    again = next_run(other)
    assert states(other) == [State.FAIL, State.RUNNING] and again.variant == 'trial1'
    assert again.config == lost.config
    train(again, .5)
    other.finished(again, '')
    assert next_run(other) is None and other.is_empty()


def test_a_trial_too_many_does_not_hide_that_of_a_lost_machine(open_search):
    lost = open_search('a', '--search=1')
    next_run(lost)
    surplus = lost._optuna.ask()  # as another process does in the same moment
    lost._storage.set_trial_state_values(surplus._trial_id, state=State.WAITING)
    age(lost, 0)
    other = open_search('b', '--search=1')
    assert next_run(other).variant == 'trial2'
    assert states(other) == [State.FAIL, State.WAITING, State.RUNNING]


def test_a_search_of_other_settings_is_refused(open_search):
    open_search('a')
    with pytest.raises(UserError, match=r'a search shared with other settings \(base\)'):
        open_search('b', '--epochs=7')


def test_each_machine_of_a_search_has_its_own_threads(open_search):
    open_search('a', '--intra_op_threads=3', '--log_steps=7')
    open_search('b')


def test_another_dataset_of_the_same_name_is_refused(open_search, synthetic, tmp_path):
    """Accuracies on other held-out images do not compare."""
    open_search('a')
    other = make_synthetic(str(tmp_path / 'other'), train=640, test=400)
    with pytest.raises(UserError, match=r'shared with other settings \(dataset_identity\)'):
        open_search('b', f'--data_dir={other.directory}')


def test_a_search_of_an_earlier_version_is_continued(open_search):
    search = open_search('a')
    search._optuna.set_user_attr('settings', {
        name: value for name, value in search._optuna.user_attrs['settings'].items()
        if name != 'dataset_identity'})
    open_search('b')


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


def test_only_the_trials_of_the_own_search_count(tmp_path):
    url = f'sqlite:///{tmp_path}/shared.db'
    assert trials.num_begun(str(tmp_path / 'other'), url) == 0
    assert not (tmp_path / 'shared.db').exists()
    optuna.create_study(storage=url, study_name='other').ask()
    with database.one_line_errors(url):
        assert trials.num_begun(str(tmp_path / 'other'), url) == 1
        assert trials.num_begun(str(tmp_path / 'mine'), url) == 0

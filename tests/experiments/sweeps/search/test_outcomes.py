"""How the trials of a search end: pruned, failed, or with the mean over their seeds."""

import contextlib

import pytest

from permafrost.errors import UsageError, UserError
from permafrost.experiments.sweeps.search import trials
from tests.experiments.sweeps.search.helpers import State, fail, next_run, states, train


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


def test_a_run_whose_results_were_lost_has_failed(open_search):
    search = open_search('a')
    run = next_run(search)
    train(run)
    search.finished(run, '')
    assert states(search) == [State.FAIL]

"""Trials as a sweep makes them, without a training."""

import optuna
import sqlalchemy

from permafrost import runs
from permafrost.evaluation import history
from permafrost.experiments.sweeps.search import database
from tests.experiments.sweeps.test_plan import write_run

State = optuna.trial.TrialState


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


def heartbeat(search, number):
    """Return the time of the last heartbeat of a trial."""
    trial = search._optuna.get_trials()[number]
    with search._storage.engine.connect() as each:
        return each.execute(sqlalchemy.text(
            f'SELECT heartbeat FROM trial_heartbeats WHERE trial_id = {trial._trial_id}')).scalar()


def age(search, number):
    """Let the last heartbeat of a trial be long ago; return its time."""
    trial = search._optuna.get_trials()[number]
    with search._storage.engine.begin() as each:
        each.execute(sqlalchemy.text(
            "UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00' "
            f'WHERE trial_id = {trial._trial_id}'))
    return heartbeat(search, number)


def fail(search, *problems):
    for problem in problems:
        run = next_run(search)
        if not problem:
            train(run, .5)
        search.finished(run, problem)

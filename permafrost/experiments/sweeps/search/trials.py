"""The trials of a search: which settings to try, which runs to continue, which to stop early.

The database decides who trains what, so any number of processes can work on a search.
"""

import contextlib
import dataclasses
import os
import time
from typing import Any, Dict, List, Mapping, Optional, Tuple

import optuna

from permafrost import runs
from permafrost.config import RESUMABLE
from permafrost.errors import UsageError, UserError, one_line, printable
from permafrost.experiments.sweeps import plan, pool
from permafrost.experiments.sweeps.plan import PlannedRun
from permafrost.experiments.sweeps.search import database
from permafrost.experiments.sweeps.study import Study, run_directory
from permafrost.experiments.sweeps.training_process import claim
from permafrost.experiments.sweeps.variants import (
    BASELINE,
    Variant,
    name_of,
    parse_range,
    with_same_recipe,
)

POLL_SECS = 3.  # between two questions to the database, or looks at results.csv
# A third continues at each rung: after 1, 3, 9, ... evaluations (ASHA, arXiv:1810.05934).
REDUCTION_FACTOR = 3
MAX_FAILURES = 3  # in a row, of another reason than the settings: the next trials would fail, too
DIVERGED = 'became NaN'  # in the reason of a training whose loss diverged
SETTINGS_FAILED = 'settings_failed'  # attribute of a trial whose settings are the reason
# Flags that each machine of a search may choose.
OF_A_MACHINE = {*RESUMABLE} - {'steps', 'eval_epochs', 'patience'}
State = optuna.trial.TrialState


def num_begun(folder: str, url: str) -> int:
    """Return how many trials of the search of `folder` have begun, on all machines.

    Creates no database. Raises UserError if it is damaged.
    """
    if not database.has_tables(url):
        return 0
    with database.damage_in_a_line(url):
        storage = database.open_storage(url)
        name = database.study_name(storage, url, folder)
        if name not in optuna.get_all_study_names(storage):
            return 0
        study = optuna.load_study(study_name=name, storage=storage)
        return database.count_begun(study.get_trials(deepcopy=False))


@dataclasses.dataclass
class Trial:
    """A trial of this process: its runs, one for each seed, and whether one of them trains."""
    trial: optuna.trial.Trial
    runs: List[PlannedRun]
    claims: contextlib.ExitStack
    is_training: bool = False
    is_pruned: bool = False
    watched: float = -1e9  # when results.csv was read

    @property
    def id(self) -> int:
        """The trial's key in the database."""
        return self.trial._trial_id


class Search(pool.RunSource):
    """The trials of a search: `the_study.count` in all, whoever makes them."""

    def __init__(self, the_study: Study, values: Any, folder: str, url: str):
        self._study, self._values, self._folder = the_study, values, folder
        self._storage = database.open_storage(url)
        with database.damage_in_a_line(url):
            self.name = database.study_name(self._storage, url, folder)
            self._optuna = optuna.create_study(
                storage=self._storage, study_name=self.name, direction='maximize',
                load_if_exists=True, sampler=optuna.samplers.TPESampler(constant_liar=True),
                pruner=optuna.pruners.SuccessiveHalvingPruner(
                    min_resource=1, reduction_factor=REDUCTION_FACTOR))
            self._optuna.get_trials(deepcopy=False)
            self._check_same_study()
        self._trials: Dict[int, Trial] = {}  # {number: trial of this process}
        self._asked = self._beat = -1e9
        self._is_empty = self._is_noted = False
        self._failures = 0  # in a row

    def _check_same_study(self) -> None:
        """Raise UserError if the database has a search of this name with other settings."""
        base = plan.configure(self._values, plan.arguments_of(
            self._study, {}, self._study.seeds[0]), BASELINE)
        mine = {'base': _comparable(self._study.base), 'seeds': list(self._study.seeds),
                'vary': {name: list(each) for name, each in self._study.vary.items()},
                'dataset_identity': base.dataset.identity}
        theirs = self._optuna.user_attrs.get('settings')
        if theirs is None:
            self._optuna.set_user_attr('settings', mine)
            return
        theirs = {**mine, **theirs, 'base': _comparable(theirs.get('base', {}))}
        if theirs != mine:
            names = ', '.join(name for name in mine if mine[name] != theirs[name])
            raise UserError(f'the database has a search {printable(self.name)} with other settings '
                            f'({names}): leave out the flags that change them, restore study.json, '
                            'or use a STUDY of another name')

    def next(self) -> Optional[PlannedRun]:
        now = time.monotonic()
        self._send_heartbeats()
        for each in self._trials.values():
            if not each.is_training:  # its next seed
                return self._train(each)
        if now < self._asked + POLL_SECS:
            return None
        trial = self._take_up() or self._ask()
        self._asked = -1e9 if trial else now
        return self._train(trial) if trial else None

    def _train(self, each: Trial) -> Optional[PlannedRun]:
        """Return the first run of a trial that is not done."""
        each.is_training = True
        return next(run for run in each.runs if not run.is_done() or run is each.runs[-1])

    def _take_up(self) -> Optional[Trial]:
        """Return a trial whose process was killed, if its runs are in this folder."""
        self._is_empty = not self._trials
        for frozen in self._optuna.get_trials(deepcopy=False, states=(State.RUNNING,)):
            if frozen.number in self._trials or not os.path.isdir(self._place(frozen.number)):
                continue
            claims = claim(self._first_run(frozen.number))
            self._is_empty = False  # another process of this folder is at it, or was a moment ago
            if claims is None:
                # If both were suspended, its process may not have sent one yet.
                self._storage.record_heartbeat(frozen._trial_id)
                continue
            with claims:
                state = self._storage.get_trial(frozen._trial_id).state
                if not self._is_training(frozen.number) and not state.is_finished():
                    self._storage.record_heartbeat(frozen._trial_id)
                    trial = self._add(optuna.trial.Trial(self._optuna, frozen._trial_id), claims)
                    if trial:
                        return trial
        return None

    def _ask(self) -> Optional[Trial]:
        """Return a new trial, unless all have begun."""
        surplus: List[optuna.trial.Trial] = []  # other processes have asked in the same moment
        try:
            while True:
                self._send_heartbeats(at_once=True)  # this process may have been suspended
                optuna.storages.fail_stale_trials(self._optuna)
                every = self._optuna.get_trials(deepcopy=False)
                if database.count_begun(every) >= self._study.count and not any(
                        database.is_retry(each) and each.state == State.WAITING for each in every):
                    return None
                trial = self._optuna.ask()
                self._storage.record_heartbeat(trial._trial_id)
                every = self._optuna.get_trials(deepcopy=False)
                before = sum(not database.is_retry(each) for each in every[:trial.number])
                if before >= self._study.count and not database.is_retry(every[trial.number]):
                    surplus.append(trial)  # held, so that a retry after it has its turn
                    continue
                self._is_empty = False
                added = self._add(trial)
                if added:
                    return added
        finally:
            for each in surplus:
                self._storage.set_trial_state_values(each._trial_id, state=State.WAITING)

    def _add(self, trial: optuna.trial.Trial, claims: Optional[contextlib.ExitStack] = None
             ) -> Optional[Trial]:
        """Return the trial with its runs; None if another process has it, or it is a repetition.

        `claims` hold its runs, and become the trial's; None: nobody else knows the trial yet.
        """
        settings = {name: self._suggest(trial, name, values)
                    for name, values in self._study.vary.items()}
        for other in self._optuna.get_trials(deepcopy=False):
            if other.params == trial.params and other.number < trial.number and (
                    other.state in (State.COMPLETE, State.PRUNED)
                    or other.user_attrs.get(SETTINGS_FAILED)):
                trial.set_user_attr('same_as', other.number)
                self._optuna.tell(trial, other.value if other.state == State.COMPLETE else None,
                                  state=other.state)
                print(f'trial{trial.number}: the same settings as trial{other.number}', flush=True)
                return None
        name = f'trial{trial.number}'
        variant = with_same_recipe(self._study, Variant(name, settings))
        try:
            prepared = plan.configure(self._values, plan.arguments_of(
                self._study, variant.settings, self._study.seeds[0]), name_of(settings))
        except UserError as error:
            trial.set_user_attr(SETTINGS_FAILED, isinstance(error, UsageError))
            self._optuna.tell(trial, state=State.FAIL)
            print(f'{name}: FAILED: {error}', flush=True)
            self._count_failure(name, '' if isinstance(error, UsageError) else str(error))
            return None
        self._note_precision(trial, prepared.config.recipe.compute_dtype)
        planned = [plan.planned_run(self._study, variant, seed, self._folder, prepared)
                   for seed in self._study.seeds]
        for each in planned:
            each.check_same()
        claims = claims or claim(self._first_run(trial.number))
        if claims is None:
            return None
        print(f'{name}: {printable(name_of(settings))}', flush=True)
        self._trials[trial.number] = Trial(trial, planned, claims.pop_all())
        return self._trials[trial.number]

    def _note_precision(self, trial: optuna.trial.Trial, compute_dtype: str) -> None:
        """Print a note, once, if the machines of the search do not train in one precision."""
        trial.set_user_attr('compute_dtype', compute_dtype)
        found = {each.user_attrs.get('compute_dtype', compute_dtype)
                 for each in self._optuna.get_trials(deepcopy=False)}
        if len(found) > 1 and 'compute_dtype' not in self._study.vary and not self._is_noted:
            self._is_noted = True
            print(plan.MIXED_PRECISIONS.format(' and '.join(sorted(found))), flush=True)

    def _suggest(self, trial: optuna.trial.Trial, name: str, values: Tuple[str, ...]) -> str:
        number_range = parse_range(name, values[0]) if len(values) == 1 else None
        try:
            if number_range is None:
                return trial.suggest_categorical(name, values)
            low, high, is_log, is_whole = number_range
            if is_whole:
                return str(trial.suggest_int(name, int(low), int(high), log=is_log))
            return f'{trial.suggest_float(name, low, high, log=is_log):.6g}'
        except ValueError as error:
            raise UserError(f'{name}: {one_line(error)}') from None

    def _place(self, number: int) -> str:
        return os.path.join(self._folder, 'runs', f'trial{number}')

    def _first_run(self, number: int) -> str:
        return run_directory(self._folder, f'trial{number}', self._study.seeds[0])

    def _is_training(self, number: int) -> bool:
        """Return whether any seed trains: that of a killed process takes a while to save."""
        return any(runs.is_running(run_directory(self._folder, f'trial{number}', seed))
                   for seed in self._study.seeds)

    def _trial_of(self, planned: PlannedRun) -> Trial:
        return self._trials[int(planned.variant[len('trial'):])]

    def _is_lost(self, each: Trial) -> bool:
        """Return whether another process took this one for dead, and ended its trial."""
        return self._storage.get_trial(each.id).state.is_finished()

    def _send_heartbeats(self, at_once: bool = False) -> None:
        if at_once or time.monotonic() > self._beat + database.HEARTBEAT_SECS:
            self._beat = time.monotonic()
            for each in self._trials.values():
                self._storage.record_heartbeat(each.id)

    def should_stop(self, planned: PlannedRun) -> bool:
        self._send_heartbeats()
        each = self._trial_of(planned)
        if planned is each.runs[0] and time.monotonic() > each.watched + POLL_SECS:
            each.watched = time.monotonic()
            each.is_pruned = self._is_lost(each) or self._report(each)
        return each.is_pruned

    def _report(self, each: Trial) -> bool:
        """Report the accuracies of the first seed; return whether they are too low to go on."""
        reported = self._storage.get_trial(each.id).intermediate_values
        for i, accuracy in enumerate(each.runs[0].accuracies(), 1):
            if i not in reported:
                each.trial.report(accuracy, i)
                if each.trial.should_prune():
                    return True
        return False

    def finished(self, planned: PlannedRun, problem: str) -> None:
        each = self._trial_of(planned)
        each.is_training = False
        if self._is_lost(each):
            print(f'{planned.variant}: stopped: another process considered this one dead and took '
                  'over the trial', flush=True)
            self._forget(each)
            return
        if not problem and not each.is_pruned and planned is each.runs[0]:
            each.is_pruned = self._report(each)  # by the last evaluations
        is_done = all(run.is_done() for run in each.runs)
        if not problem and not each.is_pruned and not is_done:
            return  # the next seed
        if not problem and is_done and not all(run.accuracies() for run in each.runs):
            problem = 'results.csv has no evaluation'
        if problem:
            each.trial.set_user_attr(SETTINGS_FAILED, DIVERGED in problem)
            self._optuna.tell(each.trial, state=State.FAIL)
        elif not is_done:
            self._optuna.tell(each.trial, state=State.PRUNED)
        else:
            best = [run.best_accuracy() for run in each.runs]
            self._optuna.tell(each.trial, sum(best) / len(best))
        self._forget(each)
        self._count_failure(planned.variant, problem)

    def _count_failure(self, name: str, problem: str) -> None:
        """Raise UserError if trial after trial fails, which would use up all of them."""
        self._failures = self._failures + 1 if problem and DIVERGED not in problem else 0
        if self._failures == MAX_FAILURES:
            raise UserError(f'{MAX_FAILURES} trials in a row failed, the last one, {name}, with: '
                            f'{problem}: remove the cause, then repeat the command')

    def _forget(self, each: Trial) -> None:
        del self._trials[each.trial.number]
        each.claims.close()

    def is_empty(self) -> bool:
        return self._is_empty

    def progress(self, running: List[Tuple[PlannedRun, int]]) -> str:
        states = [each.state for each in self._optuna.get_trials(deepcopy=False)]
        parts = [f'{states.count(state)} {name}' for state, name in (
            (State.COMPLETE, 'complete'), (State.PRUNED, 'pruned'), (State.FAIL, 'failed'),
            (State.RUNNING, 'running')) if state in states]
        return f"{self._study.count} trials: {', '.join(parts) or 'none yet'}"

    def print_trials(self) -> bool:
        """Print the trials, the best first, and the best settings. Return whether one completed."""
        every = self._optuna.get_trials(deepcopy=False)
        done = sorted((each for each in every if each.state == State.COMPLETE),
                      key=lambda each: -each.value)
        print(self.progress([]))
        for each in done[:10]:
            print(f'trial{each.number:<4} {each.value:.4f}  {printable(_settings(each))}')
        if done:
            print(f'best: trial{done[0].number}, validation accuracy {done[0].value:.4f}: '
                  f'{printable(_settings(done[0]))}', flush=True)
        return bool(done)


def _settings(trial: optuna.trial.FrozenTrial) -> str:
    return ', '.join(f'{name}={value}' for name, value in trial.params.items())


def _comparable(base: Mapping[str, str]) -> Dict[str, str]:
    return {name: text for name, text in base.items() if name not in OF_A_MACHINE}

"""Sweep: run a study from its flags to the table of its accuracies."""

import glob
import os
from typing import Any, Dict, List, Sequence, Set

import numpy as np

from permafrost import files, machine
from permafrost.cli import commands
from permafrost.config import Config
from permafrost.errors import UsageError, UserError, pluralize, printable
from permafrost.experiments.sweeps import plan, pool, speed, study, variants
from permafrost.experiments.sweeps.plan import PlannedRun
from permafrost.experiments.sweeps.run_queue import RunQueue
from permafrost.training.setup import TrainSetup

SEARCH_SETTINGS = {'validation', 'eval_epochs'}  # settings that decide how a search chooses


def run(values: Any, folder: str) -> int:
    """Train what is missing of the study in `folder`; return the exit code.

    `values` are the flags (absl FlagValues). Raises UserError before anything is trained if a run
    would not start.
    """
    the_study = study.from_flags(values, folder)
    if the_study.method == 'search':
        return _search(the_study, values, folder)
    planned = plan.plan(the_study, variants.variants_of(the_study), folder, values)
    num_variants, method = len({each.variant for each in planned}), the_study.method
    print(f"study: {printable(folder)}, {method.replace('_', ' ')}: "
          f"{pluralize(num_variants, 'variant')} x {pluralize(len(the_study.seeds), 'seed')}, "
          f'{planned[0].config.validation} validation images', flush=True)
    if 'validation' not in the_study.base and not planned[0].config.validation:
        print('note: study.json holds out no images, so accuracies are on the test images. To '
              f'choose settings, add "validation": {study.VALIDATION} to its base.', flush=True)
    if values.dry_run:
        return _dry_run(planned, speed.recorded(planned, values.parallel), values.parallel)
    study.write(folder, the_study)
    queue = RunQueue(planned, values.parallel)
    code = pool.run_all(queue, values.parallel)
    _print_table(planned)
    if queue.problems:
        print(f"failed (the next sweep retries them): {', '.join(queue.problems)}")
    finished = code == 0 and all(each.is_done() for each in planned)
    script = 'compare.py' if finished else 'sweep.py'
    print(f'next: {commands.next_command(script, folder)}', flush=True)
    return code


def _search(the_study: study.Study, values: Any, folder: str) -> int:
    """Run the trials of a search until all processes together have made them."""
    try:
        from permafrost.experiments.sweeps.search import database, trials
    except ImportError as error:
        raise UserError(f'--search needs Optuna ({error}): run make setup') from None
    arguments = plan.arguments_of(the_study, {}, the_study.seeds[0])
    prepared = plan.configure(values, arguments, variants.BASELINE)
    config = prepared.config
    if not (config.validation and config.eval_epochs) or SEARCH_SETTINGS & set(the_study.vary):
        raise UsageError('--search chooses by validation accuracy: it needs --validation and '
                         '--eval_epochs above 0, the same for all trials')
    for name, values_of_name in the_study.vary.items():
        if len(values_of_name) > 1 and any(
                variants.parse_range(name, value) for value in values_of_name):
            raise UsageError(f'--search draws {name} from one range or from a list of values, not '
                             f'from {",".join(values_of_name)}: give one of them')
    steps = {config.steps, *_check_values(the_study, values)}
    print(f"search: {printable(folder)}, {pluralize(the_study.count, 'trial')} of up to "
          f"{max(steps)} steps, {pluralize(len(the_study.seeds), 'seed')}, {config.validation} "
          'validation images', flush=True)
    url = database.url_of(values.storage or the_study.storage, folder)
    if values.dry_run:
        with database.one_line_errors(url):
            begun = trials.num_begun(folder, url)
        return _dry_run_search(the_study, folder, prepared, values.parallel, begun)
    files.make_folder(folder)
    with database.one_line_errors(url):
        search = trials.Search(the_study, values, folder, url)
        study.write(folder, the_study)
        print(f'{printable(search.name)} in {database.shown(url)}', flush=True)
        code = pool.run_all(search, values.parallel)
        has_trials = search.print_trials()
    script = 'compare.py' if has_trials and code <= 1 else 'sweep.py'
    code = code if code > 1 else int(not has_trials)  # a trial may fail
    print(f'next: {commands.next_command(script, folder)}', flush=True)
    return code


def _check_values(the_study: study.Study, values: Any) -> Set[int]:
    """Return the lengths in steps of trials with each value that a search could draw.

    Each value and end of a range is tried with the base, then with the first values of the others.
    Raises UsageError if no training accepts it.
    """
    steps = set()
    tried = {name: _ends(name, texts) for name, texts in the_study.vary.items()}
    first = {name: texts[0] for name, texts in tried.items()}
    for name, texts in tried.items():
        for text in texts:
            try:
                config = _configure(the_study, values, {name: text})
            except UsageError:
                if len(tried) == 1:
                    raise
                config = _configure(the_study, values, {**first, name: text})
            steps.add(config.steps)
    return steps


def _ends(name: str, texts: Sequence[str]) -> Sequence[str]:
    """Return the values of a setting; of a range, both ends."""
    number_range = variants.parse_range(name, texts[0]) if len(texts) == 1 else None
    if number_range is None:
        return texts
    return [f'{int(end) if number_range.is_whole else end:.6g}' for end in number_range[:2]]


def _configure(the_study: study.Study, values: Any, settings: Dict[str, str]) -> Config:
    variant = variants.with_same_recipe(
        the_study, variants.Variant(variants.name_of(settings), settings))
    arguments = plan.arguments_of(the_study, variant.settings, the_study.seeds[0])
    return plan.configure(values, arguments, variant.name).config


def _dry_run(planned: List[PlannedRun], speeds: Dict[speed.Kind, float], parallel: int,
             trials: int = 1, begun: int = 0) -> int:
    """List the runs with their times; measure the speed of each kind that `speeds` lacks.

    A search has `trials` of the same runs, of which `begun` have begun.
    """
    if begun:
        print(f'{begun} of {trials} trials have begun')
    trials = max(0, trials - begun)
    times = []
    for each in planned if trials else []:
        if each.is_done():
            print(f'{each.label}: done')
            continue
        kind = speed.kind_of(each.config)
        if kind not in speeds:
            speeds[kind] = speed.measure(
                each, pool.thread_flags(each, parallel, machine.cores()))
        step = each.step()
        times.append(speed.seconds_left(each, step, speeds))
        print(f'{each.label}: {each.config.model}, {each.config.steps} steps'
              f"{f', continues at {step}' * (step > 0)}, {speed.clock_time(times[-1])} at "
              f'{speeds[kind]:.0f} images/s', flush=True)
    times *= trials
    total = speed.clock_time(speed.total_seconds(times, parallel))
    print(f"{pluralize(len(times), 'run')} to train, {parallel} at once: {total}", flush=True)
    return 0


def _dry_run_search(the_study: study.Study, folder: str, prepared: TrainSetup, parallel: int,
                    begun: int) -> int:
    """List the runs of one trial of a search, of which `begun` trials have begun."""
    trial = variants.Variant('each trial', {})
    planned = [plan.planned_run(the_study, trial, seed, folder, prepared)
               for seed in the_study.seeds]
    places = glob.glob(os.path.join(glob.escape(folder), 'runs', 'trial*'))
    speeds = speed.recorded((each._replace(directory=os.path.join(place, f'seed{each.seed}'))
                             for each in planned for place in places), parallel)
    return _dry_run(planned, speeds, parallel, the_study.count, begun)


def _print_table(planned: List[PlannedRun]) -> None:
    """Print the last accuracy of each variant over its seeds, of the images held out or of test.

    A run that has not finished would change the mean.
    """
    accuracies: Dict[str, List[float]] = {}
    for each in planned:
        accuracies.setdefault(each.variant, []).extend(
            each.accuracies()[-1:] if each.is_done() else [])
    width = max(len(printable(name)) for name in accuracies)
    for name, values in accuracies.items():
        text = f'{np.mean(values):.4f}' if values else 'no accuracy'
        if len(values) > 1:
            text += f' ± {np.std(values, ddof=1):.4f} ({len(values)} seeds)'
        print(f'{printable(name):<{width}}  {text}')

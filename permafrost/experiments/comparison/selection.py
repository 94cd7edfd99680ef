"""Selection: what the arguments of compare.py name: runs, studies, folders, results, patterns."""

import contextlib
import glob
import os
import re
from typing import List, NamedTuple, Sequence, Tuple

from permafrost import files, runs
from permafrost.errors import UserError, printable
from permafrost.experiments.sweeps import exports, study, variants

MAX_RUNS = 2000


class Selected(NamedTuple):
    """A run directory, one of its exported files, or a results/*.json."""
    path: str
    variant: str = ''  # its name in a study
    export: str = ''  # the file: see sweeps.exports; '': the frozen graph
    is_result: bool = False


def select(arguments: Sequence[str]) -> Tuple[List[Selected], List[str]]:
    """Return what `arguments` name, each once and in their order, and a note for what is nothing.

    Raises UserError if they name nothing.
    """
    selected, notes = [], []  # type: List[Selected], List[str]
    for argument in arguments:
        paths = [argument]
        if not os.path.lexists(argument):
            paths = sorted(glob.glob(argument), key=natural)
        found = [each for path in paths for each in _in(os.path.normpath(path))]
        if not found:
            notes.append(f'{printable(argument)}: no run, study or result there')
        selected += found
    selected = list(dict.fromkeys(selected))
    if not selected:
        raise UserError('; '.join(notes) + ': name run directories, a study, or files of results/')
    if len(selected) > MAX_RUNS:
        raise UserError(f'{len(selected)} runs are too many to compare: name at most {MAX_RUNS}')
    return selected, notes


def _in(path: str) -> List[Selected]:
    if os.path.isfile(path):
        return [Selected(path, is_result=True)] if is_result(path) else []
    if runs.exists(path):
        return [Selected(path, _variant(path))]
    if is_study(path):
        paths = _runs_of_study(path)
    else:
        paths = runs.list_runs(path)
        for each in glob.glob(os.path.join(glob.escape(path), '*', 'study.json')):
            paths += _runs_of_study(os.path.dirname(each))
    found = [selected for each in sorted(paths, key=natural) for selected in _with_exports(each)]
    if not found:
        for name in sorted(glob.glob(os.path.join(glob.escape(path), '*.json')), key=natural):
            found += [Selected(name, is_result=True)] if is_result(name) else []
    return found


def _runs_of_study(path: str) -> List[str]:
    """Return the directories of the runs of a study, also of those that did not start."""
    paths = glob.glob(os.path.join(glob.escape(path), 'runs', '*', 'seed*', ''))
    return [each.rstrip(os.sep) for each in paths]


def is_study(path: str) -> bool:
    """Return whether `path` is the folder of a study."""
    return os.path.isfile(os.path.join(path, 'study.json'))


def _variant(run: str) -> str:
    """Return the variant of a run of a study, <study>/runs/<variant>/seed<k>; '' of others."""
    folder, name = os.path.split(os.path.abspath(run))
    parent, variant = os.path.split(folder)
    if re.fullmatch(r'seed\d+', name) and is_study(os.path.dirname(parent)):
        return variant
    return ''


def _with_exports(run: str) -> List[Selected]:
    """Return a run and, of a study, the exports of it that are variants, too."""
    trained = _variant(run)
    with contextlib.suppress(UserError):  # a damaged study.json: its runs are there all the same
        the_study = study.read(study.path_of(os.path.join(run, *[os.pardir] * 3)))
        if exports.has_any(the_study):
            for name, group in exports.of_trainings(variants.variants_of(the_study)).items():
                if files.safe_name(name) == trained:
                    return [Selected(run, trained if variant == name else variant, export)
                            for variant, export in group]
    return [Selected(run, trained)]


def is_result(path: str) -> bool:
    """Return whether the json file `path` holds accuracies, as eval.py --results writes it."""
    try:
        value = files.read_json(path) if path.endswith('.json') else None
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and 'accuracy' in value and 'settings' in value


def natural(path: str) -> List[Tuple[int, str]]:
    """Return a key by which run 2 comes before run 10."""
    return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', path)]

"""Selection: what the arguments of compare.py name: runs, studies, folders, results, patterns."""

import contextlib
import glob
import os
import re
from typing import Dict, List, NamedTuple, Sequence, Tuple

from permafrost import files, runs
from permafrost.errors import UserError, printable
from permafrost.experiments.sweeps import exports, study, variants

MAX_RUNS = 2000
RUN = re.compile(r'seed\d+').fullmatch  # the name of a run's folder in a study


class Selected(NamedTuple):
    """A run directory, one of its exported files, or a results/*.json."""
    path: str
    variant: str = ''  # its name in a study
    export: str = ''  # the file: see sweeps.exports; '': the frozen graph
    is_result: bool = False


def select(arguments: Sequence[str]) -> Tuple[List[Selected], List[str]]:
    """Return what `arguments` name, each once and in their order, and notes.

    A note is about an argument that is nothing, or an export of a study that no run is trained for.
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
        notes += [note for path in paths
                  for note in _exports_without_run(os.path.normpath(path), found)]
    selected = list(dict.fromkeys(selected))
    if not selected:
        raise UserError('; '.join(notes) + ': name run directories, a study, or files of results/')
    if len(selected) > MAX_RUNS:
        raise UserError(f'{len(selected)} runs are too many to compare: name at most {MAX_RUNS}')
    return selected, list(dict.fromkeys(notes))


def _in(path: str) -> List[Selected]:
    if os.path.isfile(path):
        return [Selected(path, is_result=True)] if is_result(path) else []
    if runs.exists(path):
        return [Selected(path, _variant(path))]
    if is_study(path):
        paths = _runs_of_study(path)
    else:
        paths = runs.list_runs(path)
        for each in _studies_in(path):
            paths += _runs_of_study(each)
    found = _with_exports(sorted(paths, key=natural))
    if not found:
        for name in sorted(glob.glob(os.path.join(glob.escape(path), '*.json')), key=natural):
            found += [Selected(name, is_result=True)] if is_result(name) else []
    return found


def _studies_in(path: str) -> List[str]:
    paths = glob.glob(os.path.join(glob.escape(path), '*', 'study.json'))
    return sorted(map(os.path.dirname, paths), key=natural)


def _runs_of_study(path: str) -> List[str]:
    """Return the directories of the runs of a study, also of those that did not start."""
    paths = [each.rstrip(os.sep) for each in glob.glob(
        os.path.join(glob.escape(path), 'runs', '*', 'seed*', ''))]
    return [each for each in paths if RUN(os.path.basename(each))]  # no seed1.old, moved away


def is_study(path: str) -> bool:
    """Return whether `path` is the folder of a study."""
    return os.path.isfile(os.path.join(path, 'study.json'))


def _variant(run: str) -> str:
    """Return the variant of a run of a study, <study>/runs/<variant>/seed<k>; '' of others."""
    folder, name = os.path.split(os.path.abspath(run))
    parent, variant = os.path.split(folder)
    if RUN(name) and is_study(os.path.dirname(parent)):
        return variant
    return ''


def _study_of(run: str) -> str:
    """Return the folder of the study that a run <study>/runs/<variant>/seed<k> is of."""
    return os.path.abspath(os.path.join(run, *[os.pardir] * 3))


def _with_exports(paths: Sequence[str]) -> List[Selected]:
    """Return the runs `paths` and, of studies, the exports of them that are variants, too."""
    trainings: Dict[str, Dict[str, List[Tuple[str, str]]]] = {}
    found = []
    for run in paths:
        trained, folder = _variant(run), _study_of(run)
        if trained and folder not in trainings:
            trainings[folder] = _exported_trainings(folder)
        group = trainings.get(folder, {}).get(trained) or [(trained, '')]
        found += [Selected(run, variant, export) for variant, export in group]
    return found


def _exported_trainings(folder: str) -> Dict[str, List[Tuple[str, str]]]:
    """Return {folder of the variant that is trained: [(variant, export), ...]} of a study.

    It is empty if no variant is an export.
    """
    with contextlib.suppress(UserError):  # a damaged study.json: its runs are there all the same
        the_study = study.read(study.path_of(folder))
        if exports.has_any(the_study):
            trainings = exports.of_trainings(the_study.base, variants.variants_of(the_study))
            return {files.safe_name(name): [
                (files.safe_name(each) if each == name else each, export) for each, export in group]
                for name, group in trainings.items()}
    return {}


def _exports_without_run(path: str, found: Sequence[Selected]) -> List[str]:
    """Return a note for each export of the study at `path`, or of those in it, not in `found`."""
    selected = {(_study_of(each.path), each.variant) for each in found}
    return [f'{printable(folder)}: {printable(variant)} has no run to export: sweep the study, '
            'or write its settings exactly as in the variant that trains the same'
            for folder in ([path] if is_study(path) else _studies_in(path))
            for group in _exported_trainings(folder).values()
            for variant, export in group
            if export and (os.path.abspath(folder), variant) not in selected]


def is_result(path: str) -> bool:
    """Return whether the json file `path` holds accuracies, as eval.py --results writes it."""
    try:
        value = files.read_json(path) if path.endswith('.json') else None
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and 'accuracy' in value and 'settings' in value


def natural(path: str) -> List[Tuple[float, str]]:
    """Return a key by which run 2 comes before run 10, and 0.05 before 0.2."""
    parts = re.split(r'(\d+(?:\.\d+)?)', path)
    return [(float(part), '') if part[:1].isdecimal() else (-1, part) for part in parts]

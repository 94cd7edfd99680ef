"""Grouping: runs that differ only in their seed become a row; rows get names and settings."""

import collections
import os
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from permafrost import files
from permafrost.errors import UsageError, printable, shown
from permafrost.experiments.comparison.entries import Entry

# In this order; then the fields of recipes.
FIRST_SETTINGS = ('model', 'recipe', 'dataset', 'seed')
BASELINE = 'baseline'  # the name of a study's


class Group(NamedTuple):
    """The entries of a row, by seed."""
    name: str
    entries: Tuple[Entry, ...]
    settings: Dict[str, str]  # those that differ between the rows


def group(entries: Sequence[Entry], by_run: bool = False,
          baseline: Optional[str] = None) -> List[Group]:
    """Return the rows of a comparison, the baseline first.

    A second run of the same seed is not another sample: it gets a row of its own, as every run does
    with `by_run`. `baseline` is the name, a run or a variant of a row; by default that of a study,
    or else the first row, of those that have an accuracy. Raises UsageError if there is no such
    row.
    """
    rows = _rows(entries, by_run)
    names = _shown_settings([row[0] for row in rows], by_run)
    models = [row[0].model for row in rows]
    groups, counts = [], collections.Counter()  # type: List[Group], collections.Counter[str]
    for row in rows:
        settings = {name: _setting(row[0], name) for name in names}
        name = row[0].variant or ' '.join(
            [row[0].model, *(f'{key}={value}' for key, value in settings.items()
                             if key != 'model' and models.count(row[0].model) > 1)])
        counts[name] += 1
        unique = f'{name} ({counts[name]})' if counts[name] > 1 else name
        groups.append(Group(unique, tuple(sorted(row, key=lambda entry: entry.seed)), settings))
    first = _find_baseline(groups, baseline)
    return [first, *(each for each in groups if each is not first)]


def _rows(entries: Sequence[Entry], by_run: bool) -> List[List[Entry]]:
    """Return the entries of each row. A finished run comes before a failed try of its seed."""
    rows: Dict[Tuple[object, ...], List[List[Entry]]] = {
        _key(entry, by_run): [] for entry in entries}
    for entry in sorted(entries, key=lambda entry: not entry.is_finished):
        copies = rows[_key(entry, by_run)]
        row = next((row for row in copies if all(each.seed != entry.seed for each in row)), None)
        if row is None:
            copies.append([entry])
        else:
            row.append(entry)
    return [row for copies in rows.values() for row in copies]


def _key(entry: Entry, by_run: bool) -> Tuple[object, ...]:
    return entry.variant, by_run and entry.path, tuple(sorted(entry.settings.items()))


def _shown_settings(rows: Sequence[Entry], by_run: bool) -> List[str]:
    changed = [name for row in rows for name in row.changed]
    fields = [name for row in rows for name in row.settings if name in changed]
    names = [*FIRST_SETTINGS[:3 + by_run], *fields, 'engine']
    return [name for name in dict.fromkeys(names)
            if len({_setting(row, name) for row in rows}) > 1]


def _setting(entry: Entry, name: str) -> str:
    return str(entry.seed) if name == 'seed' else entry.settings.get(name, '')


def _find_baseline(groups: Sequence[Group], baseline: Optional[str]) -> Group:
    if baseline is None:
        return min(groups, key=lambda each: (
            all(entry.accuracy is None or not entry.is_finished for entry in each.entries),
            each.entries[0].variant != BASELINE))
    meant = {baseline, os.path.normpath(baseline), files.safe_name(baseline)}  # or a folder's name
    for each in groups:
        if not meant.isdisjoint([each.name, files.safe_name(each.name), *(
                name for entry in each.entries for name in (entry.path, entry.variant))]):
            return each
    known = ', '.join(printable(each.name) for each in groups[:20])
    raise UsageError(f'--baseline: no row {shown(baseline)} (choose from: {known})')

"""The list of runs: a line each, for compare.py --list."""

import calendar
import os
import time
from typing import List, Sequence

from permafrost import runs
from permafrost.errors import UserError, printable
from permafrost.experiments import markdown
from permafrost.experiments.comparison import entries, formats, selection
from permafrost.experiments.comparison.entries import Entry

HEADER = ('run', 'state', 'model', 'changes from the recipe', 'step', 'accuracy %', 'age')


def list_runs(arguments: Sequence[str]) -> str:
    """Return a table of the runs that `arguments` name, one a line. Raises UserError without any.

    A damaged run, or one of another version, is a line, too.
    """
    selected, notes = selection.select(arguments)
    rows: List[Sequence[str]] = [HEADER]
    # A run is one line, whatever exports the sweep made of it.
    for each in dict.fromkeys(each._replace(variant='', export='') for each in selected):
        if each.is_result:
            notes.append(f'{printable(each.path)}: a result, not a run; to show it, leave out '
                         '--list')
            continue
        try:
            rows.append(_row(entries.read_run(each)))
        except UserError as error:
            notes.append(f'{printable(each.path)}: {error}')
        except OSError as error:
            notes.append(f'{printable(each.path)}: {error.strerror}')
    return '\n'.join(markdown.aligned(rows) + notes)


def _row(entry: Entry) -> Sequence[str]:
    accuracy, split = entries.last_accuracy(entry)
    changes = ' '.join(f'{name}={entry.settings[name]}' for name in entry.changed
                       if name not in entries.IDENTITIES)
    recipe = entry.settings['recipe']
    return (printable(entry.path), entry.state, entry.model,
            printable(f'{recipe} {changes}'.strip()),
            f'{entry.step}/{entry.steps}', formats.NONE if accuracy is None else
            f'{100 * accuracy:.2f} {split}', _age(entry.path))


def _age(run: str) -> str:
    """Return the time since the run was last used, such as 5 min."""
    status = runs.read_status(run)
    updated = (calendar.timegm(time.strptime(status['updated'], runs.DATE))
               if 'updated' in status else os.path.getmtime(os.path.join(run, 'config.json')))
    seconds = max(0., time.time() - updated)
    return formats.duration(seconds) if seconds < 2 * 86400 else f'{seconds / 86400:.0f} days'

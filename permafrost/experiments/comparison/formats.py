"""Formats of a comparison: a table for the terminal, csv, json, and Markdown."""

import csv
import dataclasses
import io
import json
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from permafrost.errors import printable
from permafrost.experiments import markdown
from permafrost.experiments.comparison.grouping import BASELINE
from permafrost.experiments.comparison.table import Comparison, Row

NONE = '–'
MAX_CELL = 32  # characters of a setting on the terminal
METHODS = {'welch': "95 % confidence, Welch's t-test over the seeds",
           'binomial': '95 % confidence, from the number of images alone: a single seed does '
                       'not show the noise of training'}


CSV_COLUMNS: List[Tuple[str, Callable[[Row], str]]] = [
    ('images', lambda row: str(row.images)),
    ('seeds', lambda row: ' '.join(map(str, row.seeds))),
    ('accuracies', lambda row: ' '.join(f'{each:.6g}' for each in row.accuracies)),
    ('accuracy', lambda row: _number(row.mean)),
    ('std', lambda row: _number(row.std)),
    ('low', lambda row: _number(row.interval and row.interval.low)),
    ('high', lambda row: _number(row.interval and row.interval.high)),
    ('difference', lambda row: _number(row.difference.value if row.difference else None)),
    ('difference_low', lambda row: _number(row.difference.interval.low
                                           if row.difference else None)),
    ('difference_high', lambda row: _number(row.difference.interval.high
                                            if row.difference else None)),
    ('method', lambda row: row.difference.method if row.difference else ''),
    ('params', lambda row: _number(row.params)),
    ('ops', lambda row: _number(row.ops)),
    ('bytes', lambda row: _number(row.bytes)),
    ('gzip_bytes', lambda row: _number(row.gzip_bytes)),
    ('sparsity', lambda row: _number(row.sparsity)),
    ('latency_ms', lambda row: _number(row.latency)),
    ('train_seconds', lambda row: _number(row.train_seconds)),
    ('gpu', lambda row: _cell(row.gpu)),
    ('runs', lambda row: _cell(' '.join(row.runs)))]


def text(comparison: Comparison) -> str:
    """Return the table and its notes, as lines for a terminal."""
    has_names = _needs_names(comparison)
    columns: Dict[str, Callable[[Row], str]] = {}
    if has_names:
        cut = _cut([row.name for row in comparison.rows])
        columns['variant'] = lambda row, cut=cut: cut(row.name)  # type: ignore[misc]
    for name in comparison.settings:
        cut = _cut([row.settings[name] for row in comparison.rows])
        columns[name] = lambda row, name=name, cut=cut: (  # type: ignore[misc]
            cut(row.settings[name]))
    first_number = len(columns)
    columns.update({
        'seeds': lambda row: str(len(row.seeds)),
        'accuracy %': accuracy,
        'difference': lambda row: difference(row, comparison, '{} *'),
        **{name: column for name, column in MEASURES.items()
           if any(column(row) != NONE for row in comparison.rows)}})
    rows = [list(columns), *([column(row) for column in columns.values()]
                             for row in comparison.rows)]
    lines = markdown.aligned(rows, len(columns) - first_number)
    return '\n'.join([*lines, '', *facts(comparison, '*')])


def markdown_table(comparison: Comparison, last: Optional[Dict[str, Callable[[Row], str]]] = None
                   ) -> List[str]:
    """Return the lines of a Markdown table of at most six columns, and its notes.

    A difference that is not noise is bold. `last`, {name: text}, stands in place of the training.
    """
    has_names = _needs_names(comparison)

    def variant(row: Row) -> str:
        settings = [f'{name}={value}' for name, value in row.settings.items()]
        return markdown.escape(row.name if has_names else ' '.join(settings))

    def pair(first: str, second: str) -> Callable[[Row], str]:
        return lambda row: f'{MEASURES[first](row)} / {MEASURES[second](row)}'

    columns: Dict[str, Callable[[Row], str]] = {
        'variant': variant,
        f'{comparison.split} accuracy (%)': accuracy,
        'difference': lambda row: difference(row, comparison, '**{}**'),
        'parameters / operations (M)': pair('params M', 'ops M'),
        'file (MB) / latency (ms)': pair('file MB', 'ms'),
        **({'training': lambda row: markdown.escape(MEASURES['training'](row))}
           if last is None else last)}
    lines = markdown.table(list(columns), [
        [column(row) for column in columns.values()] for row in comparison.rows])
    notes = [markdown.escape(line) for line in facts(comparison, 'bold')]
    return [*lines, '', *(f'- {line}' for line in notes)]


def csv_text(comparison: Comparison) -> str:
    """Return a line for each row, with all its numbers; accuracies are fractions 0 to 1.

    A setting with the name of a column has a column `setting <name>`.
    """
    columns = [('variant', lambda row: _cell(row.name)),
               *map(_setting_column, comparison.settings),
               ('split', lambda row: comparison.split), *CSV_COLUMNS]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow([name for name, _ in columns])
    writer.writerows([text(row) for _, text in columns] for row in comparison.rows)
    return stream.getvalue()


def _setting_column(name: str) -> Tuple[str, Callable[[Row], str]]:
    is_taken = name in {column for column, _ in CSV_COLUMNS}
    return f'setting {name}' if is_taken else name, lambda row: _cell(row.settings[name])


def json_text(comparison: Comparison) -> str:
    """Return all of it, as recorded_studies reads it; accuracies are fractions 0 to 1."""
    return json.dumps(dataclasses.asdict(comparison), indent=1) + '\n'


def _number(value: Optional[float]) -> str:
    return '' if value is None else f'{value:.6g}' if isinstance(value, float) else str(value)


def _cell(name: str) -> str:
    # A spreadsheet takes what begins like this for a formula.
    return ("'" if name[:1] in ('=', '+', '-', '@') else '') + printable(name)


def _needs_names(comparison: Comparison) -> bool:
    """Return whether the settings do not tell the rows apart, or the names say more than they."""
    settings = {tuple(row.settings.values()) for row in comparison.rows}
    return not comparison.settings or len(settings) < len(comparison.rows) or any(
        '=' not in row.name and row.name not in (row.model, BASELINE) for row in comparison.rows)


def accuracy(row: Row) -> str:
    """Return the mean accuracy in percent, with the deviation over the seeds."""
    return NONE if row.mean is None else markdown.percent(row.mean, row.std)


def difference(row: Row, comparison: Comparison, marked: str) -> str:
    """Return the difference from the baseline in points, with its interval.

    It is `marked`, a format, if it is not noise.
    """
    if row is comparison.baseline:
        return 'baseline'
    if row.difference is None:
        return NONE
    low, high = row.difference.interval
    shown = f'{100 * row.difference.value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]'
    return marked.format(shown) if row.difference.is_significant else shown


def facts(comparison: Comparison, mark: str) -> List[str]:
    """Return lines: which accuracy, how certain, how latency was measured, and the notes."""
    methods = dict.fromkeys(row.difference.method for row in comparison.rows if row.difference)
    images = sorted({row.images for row in comparison.rows if row.images})
    several = any(row.std is not None for row in comparison.rows)
    lines = [f'accuracy: of the last checkpoint, on {" or ".join(map(str, images))} '
             f'{comparison.split} images' + ', mean ± standard deviation of the seeds' * several
             ] if images else [
                 f'accuracy: no finished run was evaluated on the {comparison.split} images']
    lines += [f'difference: in percentage points, {METHODS[method]}' for method in methods]
    if methods:
        lines.append(f'{mark}: the interval excludes 0 (so do about 1 in 20 intervals of variants '
                     'without any effect)')
    if comparison.latency_of:
        lines.append(f'ms: latency in C++, {comparison.latency_of}')
    lines += [f'{row.name}: {note}' for row in comparison.rows for note in row.notes]
    return [printable(line) for line in [*lines, *comparison.notes]]


def _millions(value: Optional[int]) -> str:
    return NONE if value is None else f'{value / 1e6:.2f}'


def duration(seconds: Optional[float]) -> str:
    """Return a training time, such as 95 s, 27 min or 3.5 h."""
    if seconds is None:
        return NONE
    if seconds < 120:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h'


def training(row: Row) -> str:
    """Return the training time, with the GPU: minutes of a GPU and of a CPU do not compare."""
    on_gpu = f' on {_short(row.gpu)}' if row.gpu and row.train_seconds is not None else ''
    return duration(row.train_seconds) + on_gpu


# Columns that are left out if no row has the number.
MEASURES: Dict[str, Callable[[Row], str]] = {
    'params M': lambda row: _millions(row.params),
    'ops M': lambda row: _millions(row.ops),
    'file MB': lambda row: _millions(row.bytes),
    'gzip MB': lambda row: _millions(row.gzip_bytes),
    'sparsity %': lambda row: f'{100 * row.sparsity:.1f}' if row.sparsity else NONE,
    'ms': lambda row: NONE if row.latency is None else markdown.three_digits(row.latency),
    'training': training}


def _cut(values: Sequence[str]) -> Callable[[str], str]:
    """Return the function that shortens `values`, unless two of them would look the same."""
    return _short if len({*map(_short, values)}) == len({*values}) else printable


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= MAX_CELL else text[:MAX_CELL - 1] + '…'

"""The page of a comparison: a table that sorts, what each change did, costs, learning curves."""

from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

from permafrost import runs
from permafrost.errors import printable
from permafrost.experiments import markdown
from permafrost.experiments.comparison.table import Comparison, Row

# Name, field of Row, what it is divided by, text of the value.
COSTS: Tuple[Tuple[str, str, float, Callable[[float], str]], ...] = (
    ('parameters', 'params', 1, lambda value: f'{value:,.0f}'),
    ('operations (million)', 'ops', 1e6, lambda value: f'{value:,.2f}'),
    ('bytes', 'bytes', 1, lambda value: f'{value:,.0f}'),
    ('bytes, gzip', 'gzip_bytes', 1, lambda value: f'{value:,.0f}'),
    ('sparsity (%)', 'sparsity', 0.01, lambda value: f'{value:.1f}'),
    ('latency in C++ (ms)', 'latency', 1, lambda value: f'{value:.3g}'),
    ('training (minutes)', 'train_seconds', 60, lambda value: f'{value:.1f}'))
CHARTS = (  # of accuracy against a field of Row
    ('ops', 'operations', 'operations for one image (million)', 1e6),
    ('params', 'parameters', 'parameters (million)', 1e6),
    ('bytes', 'size of the file', 'size of the file (MB)', 1e6),
    ('gzip_bytes', 'compressed size', 'bytes after gzip (MB)', 1e6),
    ('latency', 'latency', 'latency of one image in C++ (ms)', 1))
MAX_CURVES = 24  # variants, as many as there are looks of a line


class Cell(NamedTuple):
    """A cell of the table; `value` is what it sorts by ('': unknown, or by its text)."""
    text: str
    value: str = ''
    is_number: bool = False
    is_bold: bool = False
    detail: str = ''  # a second line


def page(comparison: Comparison) -> str:
    """Return the page of `comparison`. Raises ImportError without Jinja2 or matplotlib."""
    from permafrost.experiments.reports import page as pages
    columns = [column for column in COSTS
               if any(getattr(row, column[1]) is not None for row in comparison.rows)]
    has_difference = any(row.difference for row in comparison.rows)
    header = [('variant', False), *((name, False) for name in comparison.settings),
              (f'{comparison.split} accuracy (%)', True),
              *([('difference (points)', True)] if has_difference else []),
              *((column[0], True) for column in columns)]
    rows = [[Cell(row.name), *(Cell(row.settings.get(name, '')) for name in comparison.settings),
             _accuracy(row), *([_difference(row)] if has_difference else []),
             *(_cost(row, field, unit, text) for _, field, unit, text in columns)]
            for row in comparison.rows]
    methods = {row.difference.method for row in comparison.rows if row.difference}
    return pages.render(
        'comparison.html', title=comparison.title, header=header, rows=rows,
        date=runs.utc_now(), methods=sorted(methods), has_difference=has_difference,
        baseline=comparison.baseline.name if comparison.rows else '', split=comparison.split,
        latency_of=comparison.latency_of, ablation=_ablation(comparison),
        costs=_costs(comparison.rows), curves=_curves(comparison.rows),
        too_many=len(comparison.rows) > MAX_CURVES and MAX_CURVES,
        notes=[*comparison.notes, *(f'{row.name}: {note}' for row in comparison.rows
                                    for note in row.notes)])


def _accuracy(row: Row) -> Cell:
    if row.mean is None:
        return Cell('–', is_number=True)
    return Cell(markdown.percent(row.mean, row.std), f'{row.mean}', True)


def _difference(row: Row) -> Cell:
    if row.difference is None:
        return Cell('–', is_number=True)
    value, (low, high) = row.difference.value, row.difference.interval
    text, interval = f'{100 * value:+.2f}', f'{100 * low:+.2f} to {100 * high:+.2f}'
    return Cell(text.replace('-', '−'), f'{value}', True, row.difference.is_significant,
                interval.replace('-', '−'))


def _cost(row: Row, field: str, unit: float, text: Callable[[float], str]) -> Cell:
    value: Optional[float] = getattr(row, field)
    return (Cell('–', is_number=True) if value is None
            else Cell(text(value / unit), f'{value}', True,
                      detail=printable(row.gpu) if field == 'train_seconds' else ''))


def _ablation(comparison: Comparison) -> Any:
    from permafrost.experiments.reports import charts
    bars = charts.differences(comparison.rows)
    title = f'Difference in accuracy from {comparison.baseline.name}' if comparison.rows else ''
    return charts.bars('ablation', title, bars) if bars else None


def _costs(rows: Sequence[Row]) -> List[Any]:
    """Return the charts of accuracy against each cost in which the rows differ."""
    from permafrost.experiments.reports import pareto
    drawn = []
    for field, what, axis, unit in CHARTS:
        known = [row for row in rows if getattr(row, field) and row.mean is not None]
        if len({getattr(row, field) for row in known}) > 1:
            drawn.append(pareto.chart(field, f'Accuracy against {what}', axis, [
                _point(row, getattr(row, field) / unit) for row in known]))
    return drawn


def _point(row: Row, cost: float) -> Any:
    from permafrost.experiments.reports.pareto import Point
    interval = row.interval and (100 * row.interval.low, 100 * row.interval.high)
    around = f' ({interval[0]:.2f} to {interval[1]:.2f})' if interval else ''
    return Point(row.name, cost, 100 * row.mean, interval,
                 tip=f'{row.name}: {100 * row.mean:.2f} %{around} at {cost:.4g}')


def _curves(rows: Sequence[Row]) -> List[Any]:
    """Return the learning curves of the first rows: lines of one row look the same."""
    from permafrost.experiments.reports import charts
    accuracies, losses = (charts.learning_curves(rows[:MAX_CURVES], field)
                          for field in ('eval_accuracies', 'train_losses'))
    if not accuracies:
        return []
    splits = ' and '.join(sorted({curve.split for row in rows for curve in row.curves} - {''}))
    title = f'Accuracy while training, {splits} images' if splits else 'Accuracy while training'
    return [charts.curves('accuracies', title, 'accuracy, %',
                          accuracies, 100),
            charts.curves('losses', 'Training loss', 'cross entropy', losses, log=True)]

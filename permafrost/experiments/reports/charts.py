"""Charts of trainings: learning curves over epochs, and bars of what each change did."""

from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from matplotlib import ticker

from permafrost.experiments.comparison.table import Row
from permafrost.experiments.reports import svg

MAX_MARKERS = 400  # points of a chart that have a hover text of their own


class Series(NamedTuple):
    """A line of a chart. Points whose value is None are left out."""
    name: str
    epochs: Sequence[float]
    values: Sequence[Any]  # float or None
    style: int = 0  # lines of one variant look the same


class Bar(NamedTuple):
    """A difference from the baseline, with its confidence interval, in percentage points."""
    name: str
    value: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """True if the interval excludes zero."""
        return not self.low <= 0 <= self.high


class Chart(NamedTuple):
    """A drawn chart: its title, the <svg> element, and the legend, (name, colour, line style)."""
    title: str
    svg: str
    legend: Sequence[Tuple[str, str, str]] = ()


def learning_curves(rows: Sequence[Row], field: str) -> List[Series]:
    """Return the lines of a field of Curve: those of one row look the same."""
    return [Series(row.name, curve.epochs, getattr(curve, field), number)
            for number, row in enumerate(rows) for curve in row.curves if curve.epochs]


def differences(rows: Sequence[Row]) -> List[Bar]:
    """Return the bars of the rows that have a difference from the baseline."""
    return [Bar(row.name, *(100 * each for each in (row.difference.value,
                                                    *row.difference.interval)))
            for row in rows if row.difference]


def curves(name: str, title: str, unit: str, series: Sequence[Series], scale: float = 1.,
           log: bool = False, zero: bool = False, colours: Mapping[str, str] = svg.PAGE,
           has_legend: bool = False) -> Chart:
    """Return the learning curves `series`, of values times `scale`, in `unit`.

    `name` names the chart in its page. Series of one style have one entry of the legend, the name
    of the first; with `has_legend` it is in the chart itself. The axis of the values is logarithmic
    with `log`, and begins at 0 with `zero`.
    """
    points = [[(epoch, value * scale) for epoch, value in zip(each.epochs, each.values)
               if value is not None] for each in series]
    has_markers = sum(map(len, points)) <= MAX_MARKERS
    legend: Dict[int, Tuple[str, str, str]] = {}
    symbol = unit.rpartition(', ')[2]  # the % of 'accuracy, %'
    with svg.style():
        figure, axes = svg.figure()
        for each, line in zip(series, points):
            colour, dashes = svg.series_style(each.style)
            legend.setdefault(each.style, (each.name, colour, dashes))
            if not line:
                continue
            drawn, = axes.plot(*zip(*line), linestyle=dashes, color=svg.colour(colour))
            svg.hover(drawn, f'{each.name}: {_number(line[-1][1])} {symbol} at epoch '
                             f'{line[-1][0]:g}')
            for epoch, value in line if has_markers else line[-1:]:
                marker, = axes.plot(epoch, value, 'o', markersize=3.5, color=svg.colour(colour))
                svg.hover(marker, f'{each.name}, epoch {epoch:.4g}: {_number(value)} {symbol}')
        if log and any(points):
            _make_logarithmic(axes)
        elif zero:
            axes.set_ylim(bottom=0)
        axes.set_xlabel('epoch')
        axes.set_ylabel(unit)
        axes.set_xlim(left=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if has_legend:
            for label, colour, dashes in legend.values():
                axes.plot([], [], linestyle=dashes, color=svg.colour(colour),
                          label=svg.label(label))
            axes.legend(loc='lower right', facecolor='none', edgecolor='none')
        return Chart(title, svg.text(figure, name, f'{title}, over epochs', colours),
                     list(legend.values()) if len(legend) > 1 else ())


def _make_logarithmic(axes: Any) -> None:
    axes.set_yscale('log')
    low, high = axes.get_ylim()
    subs = (1, 1.5, 2, 3, 5, 7) if high < 10 * low else (1, 2, 5) if high < 200 * low else (1,)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f'{value:g}'))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def bars(name: str, title: str, rows: Sequence[Bar],
         colours: Mapping[str, str] = svg.PAGE) -> Chart:
    """Return a bar for each of `rows`, with its interval; those that may be noise are grey."""
    rows = rows[::-1]  # matplotlib begins at the bottom
    with svg.style():
        figure, axes = svg.figure(0.9 + 0.26 * max(len(rows), 2))
        axes.grid(axis='y', visible=False)
        for place, row in enumerate(rows):
            bar = axes.barh(place, row.value, 0.6, color=svg.colour(_judgement(row)))[0]
            interval, = axes.plot([row.low, row.high], [place, place], '|-', markersize=7,
                                  linewidth=1.2, color=svg.colour('ink'))
            tip = (f'{row.name}: {row.value:+.2f} points ({row.low:+.2f} to {row.high:+.2f})'
                   + ', may be noise' * (not row.is_significant))
            svg.hover(bar, tip)
            svg.hover(interval, tip)
        axes.axvline(0, color=svg.colour('muted'), linewidth=0.8)
        axes.set_yticks(range(len(rows)))
        axes.set_yticklabels([svg.label(row.name, 30) for row in rows], color=svg.colour('ink'))
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.tick_params(axis='y', length=0)
        axes.set_xlabel('difference in accuracy, percentage points')
        kinds: List[Tuple[str, str, str]] = [
            (text, colour, 'solid') for text, colour in (
                ('better', 's2'), ('worse', 's6'), ('the interval includes 0: may be noise', 's7'))
            if any(_judgement(row) == colour for row in rows)]
        return Chart(title, svg.text(figure, name, title, colours), kinds)


def _judgement(row: Bar) -> str:
    return 's7' if not row.is_significant else 's2' if row.value > 0 else 's6'


def _number(value: float) -> str:
    return f'{value:.4g}'

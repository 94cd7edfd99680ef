"""Accuracy against a cost, with the Pareto front and labels that do not overlap."""

import itertools
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from matplotlib import ticker

from permafrost.experiments.reports import svg
from permafrost.experiments.reports.charts import Chart

GROUPS = (('s0', 'o'), ('s1', 'D'), ('s2', 's'), ('s3', '^'))  # colour and marker
FONT_SIZE = 8.5
DISTANCES = (6, 12, 22, 34, 48, 64)  # points between a mark and its label

Box = Tuple[float, float, float, float]  # pixels: left, bottom, right, top


class Point(NamedTuple):
    """A variant: what it costs, and its accuracy in percent, with an interval if there is one."""
    name: str
    cost: float
    accuracy: float
    interval: Optional[Tuple[float, float]] = None
    group: str = ''  # points of one group look the same
    tip: str = ''


def front(points: Sequence[Point]) -> List[Point]:
    """Return those than which none is both cheaper and more accurate, the cheapest first."""
    best: List[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def chart(name: str, title: str, cost: str, points: Sequence[Point], front_of: str = '',
          height: float = 3.4, colours: Mapping[str, str] = svg.PAGE,
          has_legend: bool = False) -> Chart:
    """Return the chart of accuracy against `cost`, such as 'parameters (million)'.

    The front is that of the group `front_of`; the other groups are only shown.
    `has_legend`: the groups are explained in the chart itself.
    """
    groups = {group: GROUPS[number % len(GROUPS)] for number, group in enumerate(
        dict.fromkeys(point.group for point in points))}
    with svg.style():
        figure, axes = svg.figure(height)
        axes.set_xscale('log')
        axes.set_xlabel(f'{cost}, logarithmic')
        axes.set_ylabel('accuracy, %')
        best = front([point for point in points if point.group == front_of])
        if len(best) > 1:
            axes.plot([point.cost for point in best], [point.accuracy for point in best],
                      drawstyle='steps-post', color=svg.colour('muted'), linewidth=1, zorder=1)
        for point in points:
            _mark(axes, point, *groups[point.group])
        _set_ticks(axes, [point.cost for point in points])
        axes.margins(0.13, 0.12)
        if has_legend:
            for group, (colour, marker) in groups.items():
                axes.plot([], [], marker, color=svg.colour(colour), label=svg.label(group))
            axes.legend(loc='lower right', fontsize=FONT_SIZE, facecolor='none', edgecolor='none')
        _place_labels(figure, axes, points, groups, best)
        legend = [(group, colour, 'solid') for group, (colour, _) in groups.items()]
        return Chart(title, svg.text(figure, name, title, colours),
                     legend if len(legend) > 1 else ())


def _mark(axes: Any, point: Point, colour: str, marker: str) -> None:
    if point.interval:
        axes.plot([point.cost] * 2, point.interval, '_-', markersize=5, linewidth=1,
                  color=svg.colour(colour), alpha=0.6)
    mark, = axes.plot(point.cost, point.accuracy, marker, markersize=6, color=svg.colour(colour))
    svg.hover(mark, point.tip or f'{point.name}: {point.accuracy:.2f} %')


def _set_ticks(axes: Any, costs: Sequence[float]) -> None:
    """Label powers of ten, and 2 and 5 between them where the costs are close to each other."""
    few = max(costs) < 200 * min(costs)
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if few else (1,)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f'{value:,g}'))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def _place_labels(figure: Any, axes: Any, points: Sequence[Point],
                  groups: Dict[str, Tuple[str, str]], best: Sequence[Point]) -> None:
    """Write each name at the first place around its point where nothing else is."""
    figure.draw_without_rendering()  # for the positions
    scale = figure.dpi / 72

    def position(cost: float, accuracy: float) -> Tuple[float, float]:
        return tuple(axes.transData.transform((cost, accuracy)))

    marks = [position(point.cost, point.accuracy) for point in points]
    filled = [_box(x, y, 9 * scale, 9 * scale) for x, y in marks]
    for point, (x, _) in zip(points, marks):
        if point.interval:
            low, high = (position(point.cost, value)[1] for value in point.interval)
            filled.append(_box(x, (low + high) / 2, 4 * scale, high - low))
    corners = [position(point.cost, point.accuracy) for point in best]
    for (x0, y0), (x1, y1) in zip(corners, corners[1:]):  # the line of the front
        filled += [(x0, y0 - 1, x1, y0 + 1), (x1 - 1, y0, x1 + 1, y1)]
    if axes.get_legend():
        filled.append(axes.get_legend().get_window_extent().extents)
    area = axes.get_window_extent().padded(4 * scale).extents
    for point, (x, y) in sorted(zip(points, marks), key=lambda pair: -pair[1][1]):
        label = axes.annotate(svg.label(point.name, 26), (point.cost, point.accuracy), (0, 0),
                              textcoords='offset points', fontsize=FONT_SIZE, va='center',
                              ha='center', color=svg.colour(groups[point.group][0]))
        label.set_in_layout(False)  # or the axes would move
        extent = label.get_window_extent(figure.canvas.get_renderer())
        for distance, (right, up) in itertools.product(DISTANCES, _DIRECTIONS):
            centre = (x + right * (extent.width / 2 + distance * scale),
                      y + up * (extent.height / 2 + distance * scale))
            place = _box(*centre, extent.width, extent.height)
            if _contains(area, place) and not any(_overlap(place, other) for other in filled):
                filled.append(place)
                label.set_position(((centre[0] - x) / scale, (centre[1] - y) / scale))
                if distance > DISTANCES[1]:
                    _connect(axes, point, (x, y), place, scale)
                break
        else:  # too many points: its hover text names it
            label.remove()


def _connect(axes: Any, point: Point, mark: Tuple[float, float], place: Box, scale: float) -> None:
    """Draw a line from a point to the nearest place of its label, which is not next to it."""
    nearest = [min(max(0., low - centre), high - centre) / scale
               for centre, low, high in zip(mark, place[:2], place[2:])]
    line = axes.annotate('', (point.cost, point.accuracy), nearest, textcoords='offset points',
                         arrowprops={'arrowstyle': '-', 'color': svg.colour('muted'),
                                     'linewidth': 0.6})
    line.set_in_layout(False)


_DIRECTIONS = ((0, 1), (1, 0), (-1, 0), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def _box(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _contains(area: Sequence[float], box: Box) -> bool:
    return (area[0] <= box[0] and box[2] <= area[2] and area[1] <= box[1] and box[3] <= area[3])


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return (one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])

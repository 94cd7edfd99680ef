"""The Pareto front, and labels that overlap nothing."""

import itertools

import numpy as np
import pytest

from permafrost.experiments.reports import pareto, svg
from permafrost.experiments.reports.pareto import Point


def random_points(count, seed):
    random = np.random.RandomState(seed)
    return [Point(f'variant={number}', float(10 ** random.uniform(0, 3)),
                  float(random.uniform(70, 95))) for number in range(count)]


@pytest.mark.parametrize('seed', range(5))
def test_the_front_is_what_nothing_dominates(seed):
    points = random_points(30, seed)
    slow = {point for point in points if not any(
        other.cost <= point.cost and other.accuracy >= point.accuracy and other != point
        for other in points)}
    front = pareto.front(points)
    assert set(front) == slow
    assert front == sorted(front, key=lambda point: point.cost)


def test_of_equal_points_one_is_on_the_front():
    points = [Point('a', 1, 80), Point('b', 1, 80), Point('c', 1, 79), Point('d', 2, 80)]
    assert [point.name for point in pareto.front(points)] == ['a']


@pytest.fixture
def figure(monkeypatch):
    """Return figure(points), the drawn matplotlib figure of a chart."""
    def draw(points, **options):
        kept = []
        monkeypatch.setattr(svg, 'text', lambda drawn, *unused: kept.append(drawn) or '')
        pareto.chart('a', 'Accuracy', 'cost', points, **options)
        return kept[0]
    return draw


@pytest.mark.parametrize('points', [
    *(random_points(14, seed) for seed in range(4)),
    [Point(f'same {number}', 10., 80.) for number in range(6)],
    [Point('<script>' * 9, 1e-3, 0.), Point('a$b', 1e9, 100., (99., 100.))]],
    ids=['seed 0', 'seed 1', 'seed 2', 'seed 3', 'same', 'far'])
def test_labels_overlap_nothing_and_stay_inside(figure, points):
    drawn = figure(points, front_of='')
    renderer, axes = drawn.canvas.get_renderer(), drawn.axes[0]
    area = axes.get_window_extent().padded(1 + 4 * drawn.dpi / 72)
    labels = [text for text in axes.texts if text.get_text()]
    assert len(labels) == len(points)
    boxes = [text.get_window_extent(renderer) for text in labels]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.padded(-0.5).overlaps(other)
    for box in boxes:
        assert area.contains(box.x0, box.y0) and area.contains(box.x1, box.y1)
        for point in points:
            assert not box.contains(*axes.transData.transform((point.cost, point.accuracy)))


def test_too_many_labels_leave_points_without_one(figure):
    drawn = figure([Point('a long name of a variant', 10., 80.)] * 90)
    labels = [text for text in drawn.axes[0].texts if text.get_text()]
    assert 0 < len(labels) < 90


def test_groups_are_explained():
    points = [Point('a', 1, 80, group='ours'), Point('b', 2, 81, group='theirs')]
    chart = pareto.chart('a', 'Accuracy', 'cost', points, 'ours')
    assert [entry[:2] for entry in chart.legend] == [('ours', 's0'), ('theirs', 's1')]
    assert 'a: 80.00 %' in chart.svg and '>theirs<' not in chart.svg
    assert '>theirs<' in pareto.chart('a', 'Accuracy', 'cost', points, has_legend=True).svg

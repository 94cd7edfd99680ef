"""Charts: every value has a hover text, missing ones are left out, noise is grey."""

import re
from html import unescape

import numpy as np
import pytest

from permafrost.experiments.reports import charts, svg


def tips(chart):
    """Return the hover texts of a chart."""
    return [unescape(text) for text in re.findall(r'class="tip"><title>(.*?)</title>', chart.svg)]


def test_a_curve_has_a_point_for_each_value():
    chart = charts.curves('a', 'Accuracy', 'accuracy, %', [
        charts.Series('<b>', [1, 2, 3], [0.25, None, 0.5])], 100)
    assert tips(chart) == ['<b>: 50 % at epoch 3', '<b>, epoch 1: 25 %',
                           '<b>, epoch 3: 50 %']
    assert chart.legend == () and '<b>' not in chart.svg


def test_curves_of_a_style_share_an_entry_of_the_legend():
    series = [charts.Series(name, [1], [1.], style) for name, style in
              (('base', 0), ('base', 0), ('other', 1))]
    legend = charts.curves('a', 'Loss', 'loss', series, log=True).legend
    assert legend == [('base', 's0', 'solid'), ('other', 's1', 'solid')]


@pytest.mark.parametrize('low', [1.5, 0.5, 1e-3, 1e-9])
def test_a_logarithmic_axis_has_a_few_labels(low):
    values = list(np.geomspace(2., low, 9))
    chart = charts.curves('a', 'Loss', 'loss', [charts.Series('a', range(9), values)], log=True)
    labels = [float(text) for text in re.findall(r'text-anchor: end[^>]*>([^<]*)<', chart.svg)]
    assert 1 <= len([label for label in labels if low <= label <= 2]) <= 8


def test_curves_may_be_empty():
    empty = [charts.Series('a', [], []), charts.Series('b', [1], [None], 1)]
    assert tips(charts.curves('a', 'Loss', 'loss', empty, log=True)) == []


def test_a_thousand_epochs_have_one_hover_text():
    epochs = list(range(1, 1001))
    chart = charts.curves('a', 'Loss', 'loss', [charts.Series('a', epochs, epochs)])
    assert tips(chart) == ['a: 1000 loss at epoch 1000', 'a, epoch 1000: 1000 loss']


def test_bars_say_what_may_be_noise():
    chart = charts.bars('a', 'Differences', [
        charts.Bar('better', 1., 0.5, 1.5), charts.Bar('worse', -1., -1.5, -0.5),
        charts.Bar('same', 0.1, -0.5, 0.7), charts.Bar('$e$' * 50, 0.1, -0.5, 0.7)])
    colours = re.findall(r'class="tip"><title>(\S+): [^<]*</title>\s*<path [^>]*?fill: (var[^";]+)',
                         chart.svg, re.DOTALL)
    assert dict(colours) == {'better': svg.PAGE['s2'], 'worse': svg.PAGE['s6'],
                             'same': svg.PAGE['s7'], '$e$' * 50: svg.PAGE['s7']}
    assert [entry[1] for entry in chart.legend] == ['s2', 's6', 's7']
    assert chart.legend[2][0] == 'the interval includes 0: may be noise'
    assert 'worse: -1.00 points (-1.50 to -0.50)' in tips(chart)
    assert 'same: +0.10 points (-0.50 to +0.70), may be noise' in tips(chart)

"""The page of a comparison: sorts, says what is noise, draws what differs, escapes names."""

import os
import re

import pytest

from permafrost import files
from permafrost.experiments.comparison.table import Comparison, Curve, Difference, Interval, Row
from permafrost.experiments.reports import comparison_page
from tests import chromium

HOSTILE = '<script>alert(1)</script>\n"$x'


def row(name, mean, ops, difference=None, **fields):
    curve = Curve(1, (1., 2.), (1., 0.5), (1.1, 0.6), (mean / 2, mean))
    return Row(name, 'tuto', {'augmentation': 'none'}, (1, 2), ('a', 'b'), (mean, mean), 10000,
               mean, 0.001, Interval(mean - 0.01, mean + 0.01), difference, 1000, ops, 4000,
               **dict({'latency': 0.5, 'train_seconds': 90., 'curves': (curve,)}, **fields))


ROWS = (row('base', 0.8, 10**6), row('better', 0.9, 2 * 10**6, Difference(
    0.1, Interval(0.09, 0.11), 'welch')), row(HOSTILE, 0.79, 5 * 10**5, Difference(
        -0.01, Interval(-0.03, 0.01), 'welch'), notes=('seed2: failed <b>',)))
COMPARISON = Comparison('a <i>', ROWS, ('augmentation',), 'validation', 'one thread', ('note <u>',))


def test_a_page_shows_the_table():
    text = comparison_page.page(COMPARISON)
    assert '<b>+10.00</b><small>+9.00 to +11.00</small>' in text
    assert '>−1.00<small>−3.00 to +1.00</small>' in text  # noise is not bold
    for shown in ('validation accuracy (%)', '80.00 ± 0.10', '1,000', '0.50', 'one thread',
                  'Welch', 'Accuracy against operations', 'Accuracy while training',
                  'Difference in accuracy from base', 'bold where the interval excludes 0'):
        assert shown in text, shown
    assert 'Accuracy against parameters' not in text  # all rows have as many


def test_a_page_names_the_gpu_next_to_the_training_time():
    rows = (row('a', 0.8, 10**6, gpu='<b>H100'), ROWS[1])
    text = comparison_page.page(Comparison('runs', rows))
    assert '>1.5<small>&lt;b&gt;H100</small>' in text and text.count('<small>&lt;b&gt;') == 1


def test_hostile_names_stay_text():
    text = comparison_page.page(COMPARISON)
    assert text.count('<script') == 1 and '&lt;script&gt;alert(1)&lt;/script&gt;\\n' in text
    assert not re.search('<(i|u)>(?!</)', text.partition('<body>')[2].replace('<i style', ''))


def test_a_baseline_whose_name_is_not_utf_8_has_a_page():
    rows = (row('a\udcff', 0.8, 10**6), ROWS[1])
    assert 'accuracy from a\\udcff' in comparison_page.page(Comparison('runs', rows))


@pytest.mark.parametrize('rows', [
    (), (Row('running', 'tuto', {}),), (Row('a', 'tuto', {}), row('b', 0.8, 10**6))])
def test_rows_without_figures_have_a_page(rows):
    text = comparison_page.page(Comparison('runs', rows))
    assert '>runs</h1>' in text and text.count('<tr>') == 1 + len(rows)


@pytest.mark.skipif(not chromium.PROGRAM, reason='needs chromium')
def test_a_browser_sorts_the_table_and_asks_for_nothing(tmp_path):
    path = str(tmp_path / 'page.html')
    files.write_atomically(path, comparison_page.page(COMPARISON))
    names = '[...document.querySelectorAll("tbody tr")].map(row => row.cells[0].textContent)'
    with chromium.Browser(str(tmp_path / 'profile')) as browser:
        browser.open(path, 400, dark=True)
        assert browser.run('document.documentElement.scrollWidth') == 400
        browser.open(path)
        shown = HOSTILE.replace('\n', '\\n')
        assert browser.run(names) == ['base', 'better', shown]
        click = '[...document.querySelectorAll("th button")][{}].click()'
        browser.run(click.format(2))  # accuracy
        assert browser.run(names) == [shown, 'base', 'better']
        browser.run(click.format(2))
        assert browser.run(names) == ['better', 'base', shown]
        assert browser.run('document.querySelectorAll("th")[2].ariaSort') == 'descending'
        browser.run(click.format(3))  # the difference: unknown comes last
        assert browser.run(names) == [shown, 'better', 'base']
        box = browser.run('(box => [box.x + box.width / 2, box.y + box.height / 2])('
                          'document.querySelector("svg .tip").getBoundingClientRect())')
        browser.run(f'scrollTo(0, {box[1] - 200})')
        browser.call('Input.dispatchMouseEvent', type='mouseMoved', x=box[0], y=200)
        assert 'points (' in browser.run('document.getElementById("tip").textContent')
        assert [os.path.basename(each) for each in browser.requests] == ['page.html'] * 2
        assert browser.errors == []

"""Figures as SVG: well-formed, in the colours of a theme, nothing of a name is markup."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from permafrost.experiments.reports import svg

HOSTILE = ['<script>alert(1)</script>', '$x^2$', r'\$', '"a" & \'b\'', 'a\nb\x1b', '名前',
           'x' * 500]


def draw(name='chart', text='a', colours=svg.PAGE):
    with svg.style():
        figure, axes = svg.figure()
        line, = axes.plot([1, 2], [3, 4], color=svg.colour('s0'), marker='o')
        svg.hover(line, text)
        axes.set_xlabel(svg.label(text))
        return svg.text(figure, name, text, colours)


@pytest.mark.parametrize('text', HOSTILE)
def test_a_name_stays_text(text):
    root = ElementTree.fromstring(draw(text=text))
    tags = {element.tag.rpartition('}')[2] for element in root.iter()}
    assert 'script' not in tags and 'image' not in tags
    shown = [element.text for element in root.iter() if element.tag.endswith('text')]
    printed = text.encode('unicode_escape').decode() if '\n' in text else text
    assert (printed if len(printed) < 37 else printed[:35] + '…') in shown
    tips = [element[0].text for element in root.iter() if element.get('class') == 'tip']
    assert tips == [printed]


def test_colours_are_those_of_the_theme():
    for colours in (svg.PAGE, svg.LIGHT, svg.DARK):
        drawn = draw(colours=colours)
        assert f"stroke: {colours['s0']}" in drawn and f"stroke: {colours['grid']}" in drawn
        assert not re.search('#0101..', drawn)
        others = set(re.findall(r'(?:fill|stroke): ([^;"]+)', drawn)) - set(colours.values())
        assert others <= {'none'}


def test_a_figure_is_the_same_each_time_and_its_ids_are_its_own():
    assert draw() == draw()
    ids = [set(re.findall(r' id="([^"]+)"', draw(name))) for name in ('one', 'other')]
    clips = [{each for each in found if each.startswith('p')} for found in ids]
    assert clips[0] and not clips[0] & clips[1]
    assert not [each for each in ids[0] if f'#{each}' not in draw('one')]


def test_a_figure_takes_the_width_of_its_place():
    root = ElementTree.fromstring(draw())
    assert root.get('viewBox') and root.get('width') is root.get('height') is None


def test_lines_differ_in_colour_or_dashes():
    count = svg.SERIES * len(svg.LINES)
    assert len({svg.series_style(number) for number in range(count)}) == count
    assert svg.series_style(count) == svg.series_style(0)

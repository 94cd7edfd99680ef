"""Studies of results/studies in docs/experiments.md: a table and pictures for each."""

import dataclasses
import json
import os
import xml.etree.ElementTree as ElementTree

import pytest

from permafrost.errors import UserError
from permafrost.experiments.comparison import formats
from permafrost.experiments.comparison.table import Comparison, Curve, Difference, Interval, Row
from permafrost.experiments.reports import readme_pictures, recorded_studies
from tests.processes import ROOT


def _row(name, model='tuto', recipe='tutorial', decay='0.9999', **fields):
    settings = {'model': model, 'recipe': recipe, 'ema_decay': decay}
    return Row(name, model, settings, **fields)


STUDY = Comparison('runs/a', (
    _row('baseline', seeds=(1, 2), accuracies=(0.81, 0.82), mean=0.815, std=0.00707, images=10000,
         interval=Interval(0.75, 0.88), params=1068298, ops=37745098,
         curves=(Curve(1, (1., 2.), (None, 0.9), (1.2, 1.1), (0.5, 0.61)),)),
    _row('no_lrn', 'alex2', seeds=(1,), accuracies=(0.80,), mean=0.80, images=10000,
         difference=Difference(-0.015, Interval(-0.02, -0.01), 'binomial')),
    _row('no_average', decay='0'),
    _row('<script>|', 'squeeze1', 'plain', notes=('seed 1: failed, step 3 of 9',))),
    settings=('model', 'recipe', 'ema_decay'), notes=('a note',))


@pytest.fixture
def places(tmp_path):
    """A page, a folder of results with STUDY, and a folder of pictures."""
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'results' / 'studies').mkdir(parents=True)
    (tmp_path / 'docs' / 'page.md').write_text(
        'before\n<!-- study first: made by `make readme`, do not edit -->\n'
        '<!-- end of study first -->\nafter\n')
    (tmp_path / 'results' / 'studies' / 'first.json').write_text(formats.json_text(STUDY))
    return tuple(str(tmp_path / name) for name in ('docs/page.md', 'results', 'docs/pictures'))


def test_no_recorded_study_is_stale():
    recorded_studies.update(*(os.path.join(ROOT, *path) for path in (
        ['docs', 'experiments.md'], ['results'], [readme_pictures.FOLDER])), check=True)


def test_a_study_is_read_as_it_was_written(places):
    assert recorded_studies.read(os.path.join(places[1], 'studies', 'first.json')) == STUDY


def test_published_accuracies_stand_next_to_those_of_test_images_only():
    assert 'published' in recorded_studies._table(STUDY)[0]
    held_out = dataclasses.replace(STUDY, split='validation')
    assert 'published' not in recorded_studies._table(held_out)[0]


def test_a_table_shows_what_is_published_of_the_same_settings(places):
    recorded_studies.update(*places)
    with open(places[0]) as stream:
        lines = stream.read().splitlines()
    assert (lines[0], lines[-1]) == ('before', 'after')
    cells = {line.split(' | ')[0]: line.split(' | ')[-1] for line in lines if line[:1] == '|'}
    assert cells['| variant'] == 'published |'
    assert (cells['| baseline'], cells['| no_lrn']) == ('81.0 to 81.4 |', '81.4 |')
    assert cells['| no_average'] == '– |'  # another setting differs
    assert '<script>' not in '\n'.join(lines) and '- a note' in lines
    assert any('**-1.50 [-2.00, -1.00]**' in line for line in lines)


@pytest.mark.parametrize('recipe, expected', [
    ('tutorial', '81.0 to 81.4 |'), ('plain', '75.3 |'), ('', '– |'), ('gone', '– |')])
def test_published_is_of_the_recipe_that_all_rows_share(places, recipe, expected):
    """The settings are those that differ, and so lack it."""
    study = Comparison('runs/a', (Row('baseline', 'tuto', {}, recipe=recipe),))
    with open(os.path.join(places[1], 'studies', 'first.json'), 'w') as stream:
        stream.write(formats.json_text(study))
    recorded_studies.update(*places)
    with open(places[0], encoding='utf-8') as stream:
        line, = (line for line in stream if line.startswith('| baseline'))
    assert line.rstrip().endswith(' | ' + expected)


def test_pictures_are_drawn_again_when_the_study_changes(places, capsys):
    recorded_studies.update(*places)
    pictures = sorted(os.listdir(places[2]))
    assert pictures == [f'study-first-{name}-{theme}.svg' for name in ('curves', 'differences')
                        for theme in ('dark', 'light')]
    for picture in pictures:
        root = ElementTree.parse(os.path.join(places[2], picture)).getroot()
        text = [element.text for element in root.iter() if element.tag.endswith('text')]
        assert ('baseline' if 'curves' in picture else 'no_lrn') in text
    with open(places[0]) as stream:
        page = stream.read()
    assert all(f'pictures/{picture}"' in page for picture in pictures)
    recorded_studies.update(*places, check=True)
    changed = dataclasses.replace(STUDY, rows=(STUDY.rows[0], dataclasses.replace(
        STUDY.rows[1], difference=Difference(0.01, Interval(0., 0.02), 'welch'))))
    path = os.path.join(places[1], 'studies', 'first.json')
    with open(path, 'w') as stream:
        stream.write(formats.json_text(changed))
    with pytest.raises(UserError, match='differences-light.svg is stale: run make readme'):
        recorded_studies.update(*places, check=True)


@pytest.mark.parametrize('change, message', [
    ({'rows': [{'name': 'a'}]}, r'rows\[0\].model is missing'),
    ({'rows': [dict(name='a', model='b', settings={}, interval=[1])]},
     r'interval must be an? \S+ of 2 to 2 items'),
    ({'rows': 3}, 'rows must be')])
def test_a_damaged_file_is_one_line(change, message, tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(dict(json.loads(formats.json_text(STUDY)), **change)))
    with pytest.raises(UserError, match=f'a.json is damaged .*{message}') as error:
        recorded_studies.read(str(path))
    assert '\n' not in str(error.value)

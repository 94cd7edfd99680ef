"""README's pictures show results/*.json, and what the author of the models published."""

import os
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest

from permafrost import files
from permafrost.errors import UserError
from permafrost.experiments.reports import readme_pictures, svg
from tests.processes import ROOT


def test_no_picture_is_stale():
    readme_pictures.update(os.path.join(ROOT, 'README.md'), os.path.join(ROOT, 'results'),
                           os.path.join(ROOT, readme_pictures.FOLDER), check=True)


@pytest.fixture
def copy(tmp_path):
    """A copy of README.md and results/: (README.md, results, pictures)."""
    shutil.copy(os.path.join(ROOT, 'README.md'), str(tmp_path))
    shutil.copytree(os.path.join(ROOT, 'results'), str(tmp_path / 'results'))
    return str(tmp_path / 'README.md'), str(tmp_path / 'results'), str(tmp_path / 'docs' / 'p')


def test_a_changed_result_is_drawn(copy):
    readme_pictures.update(*copy)
    readme_pictures.update(*copy, check=True)
    path = os.path.join(copy[1], 'sprint-sprint-400.json')
    value = files.read_json(path)
    value['accuracy']['mean'] = 0.9
    files.write_json(path, value)
    with pytest.raises(UserError, match='stale: run make readme'):
        readme_pictures.update(*copy, check=True)
    readme_pictures.update(*copy)
    for theme, colours in (('light', svg.LIGHT), ('dark', svg.DARK)):
        with open(os.path.join(copy[2], f'operations-{theme}.svg')) as stream:
            text = stream.read()
        root = ElementTree.fromstring(text)
        assert root.tag == '{http://www.w3.org/2000/svg}svg' and root.get('viewBox')
        assert 'Permafrost: sprint, 211.1, 90.00 %' in text and colours['s1'] in text
        names = [element.text for element in root.iter() if element.tag.endswith('text')]
        assert names.count('nin1') == 1 and names.count('tuto') == 2  # ours, and its author's
    with open(copy[0]) as stream:
        readme = stream.read()
    for picture in re.findall(r'(?:src|srcset)="(.*?)"', readme):
        assert os.path.exists(os.path.join(os.path.dirname(copy[0]), picture)), picture


def test_a_model_trained_in_bfloat16_is_shown(copy):
    path = os.path.join(copy[1], 'tuto-tutorial-10000.json')
    value = files.read_json(path)
    files.write_json(os.path.join(copy[1], 'faster.json'), dict(
        value, accuracy={'mean': 0.99, 'std': 0., 'values': [0.99]},
        settings=dict(value['settings'], precision='bfloat16')))
    readme_pictures.update(*copy)
    with open(os.path.join(copy[2], 'operations-light.svg')) as stream:
        assert '99.00 %' in stream.read()


def test_a_changed_recipe_and_other_data_are_left_out(copy):
    path = os.path.join(copy[1], 'tuto-tutorial-10000.json')
    value = files.read_json(path)
    for number, changes in enumerate((
            {'dataset': 'flowers'},
            {'settings': dict(value['settings'], learning_rate=0.3)})):
        accuracy = {'mean': 0.99, 'std': 0., 'values': [0.99]}
        files.write_json(os.path.join(copy[1], f'{number}.json'),
                         dict(value, accuracy=accuracy, **changes))
    readme_pictures.update(*copy)
    with open(os.path.join(copy[2], 'operations-light.svg')) as stream:
        assert '99.00 %' not in stream.read()


def test_the_latency_of_an_earlier_network_is_left_out(copy):
    path = os.path.join(copy[1], 'benchmark-latency.json')
    value = files.read_json(path)
    for ops, is_shown in ((236702530, False), (211128130, True)):
        files.write_json(path, dict(value, ops=dict(value['ops'], sprint=ops)))
        readme_pictures.update(*copy)
        with open(os.path.join(copy[2], 'latency-light.svg')) as stream:
            assert ('Permafrost: sprint' in stream.read()) == is_shown

"""README.md names what a recipe can use, and the Python of the guides runs."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from permafrost.evaluation.frozen_graphs.reading.model_card import read_model_card
from permafrost.inputs import augmentation, normalization
from permafrost.recipes import schedules
from permafrost.training.optimization import optimizers
from tests.processes import ROOT


@pytest.mark.parametrize('kind, names', [
    ('Schedules', schedules.SCHEDULES), ('Optimizers', optimizers.OPTIMIZERS),
    ('Augmentations', augmentation.AUGMENTATIONS),
    ('Normalizations', normalization.NORMALIZATIONS)])
def test_readme_lists_every_name(kind, names):
    with open(ROOT + '/README.md') as stream:
        paragraphs = stream.read().split('\n- ')
    paragraph = next(text for text in paragraphs if text.startswith(f'[{kind}]'))
    missing = [name for name in names if f'`{name}' not in paragraph]
    assert not missing, f'add {missing} to README.md, section Recipes, {kind}'


def test_the_example_of_a_frozen_graph_in_python_runs(tmp_path, monkeypatch, capsys):
    with open(ROOT + '/docs/deploy.md') as stream:
        example, = re.findall('```python\n(.*?)```', stream.read(), re.DOTALL)
    os.symlink(ROOT + '/trained_models', str(tmp_path / 'trained_models'))
    Image.fromarray(np.full((40, 50, 3), 200, np.uint8)).save(str(tmp_path / 'photo.jpg'))
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    name, probability = capsys.readouterr().out.split()
    classes = read_model_card('trained_models/tuto.pb').classes
    assert name in classes and 0.1 < float(probability) <= 1

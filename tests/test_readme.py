"""README.md names what a recipe can use."""

import pytest

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

"""Recipes: json both ways, and what earlier versions wrote."""

import dataclasses
import json
import math
import os

import pytest

from permafrost.config import Config
from permafrost.recipes import catalog, durations, overrides, param_groups
from permafrost.recipes.recipe import Recipe
from tests.processes import ROOT

with open(os.path.join(ROOT, 'tests', 'fixtures', 'v1', 'recipes.json')) as stream:
    EARLIER = json.load(stream)  # by commit 8a47497, whose model and recipes are the same
# The fields of both kinds of weight decay by what `decay_mode` called them.
DECAYS = {'coupled': 'weight_decay', 'decoupled': 'decoupled_weight_decay'}


# Recipes that have changed since, and the settings that they had.
CHANGES = {'sprint': ['epochs=10', 'batch_size=2000', 'learning_rate=0.24',
                      'augmentation=alternate_flip,reflect_crop:2',
                      'param_groups=conv weight_decay=0,'
                      'beta learning_rate=106 weight_decay=0.004/106,'
                      'whiten/biases learning_rate=106 weight_decay=0.004/106 freeze_epoch=3,'
                      'fc/weights learning_rate=1340 weight_decay=0.004/1340'],
           'davidnet_tricks': ['augmentation=reflect_crop:4,flip,cutout:8'],
           'nin_bn': ['epochs=20'],
           'vgg_bn_drop': ['epochs=6', 'augmentation=pad_crop:4,flip', 'label_smoothing=0']}


def earlier_recipe(name):
    return overrides.get_recipe(name, CHANGES.get(name, []))


@pytest.mark.parametrize('name', sorted(catalog.RECIPES))
def test_json_and_back_is_the_same(name):
    recipe = catalog.RECIPES[name]
    value = json.loads(json.dumps(recipe.to_json()))
    assert Recipe.from_json(value) == recipe
    assert not {'description', 'published', 'default_for'} & set(value)


def test_every_recipe_of_the_earlier_version_is_kept():
    assert set(EARLIER) <= set(catalog.RECIPES)


@pytest.mark.parametrize('name', sorted(EARLIER))
def test_the_json_of_the_earlier_version_is_read_as_the_same_recipe(name):
    assert Recipe.from_json(EARLIER[name]['recipe']) == earlier_recipe(name)


@pytest.mark.parametrize('name', sorted(EARLIER))
def test_every_variable_is_trained_as_in_the_earlier_version(name):
    recipe = earlier_recipe(name)
    for variable, settings in EARLIER[name]['variables'].items():
        group = param_groups.param_group_for(recipe, variable)
        assert group.learning_rate == pytest.approx(settings['lr'], rel=1e-12), variable
        assert group.freeze_epoch == (settings['until'] or math.inf), variable
        decays = {mode: getattr(group, field) for mode, field in DECAYS.items()}
        decay = decays.pop(settings['mode'], settings['wd'])  # of layers: see test_graph
        assert decay == pytest.approx(settings['wd'], rel=1e-12), variable
        assert not any(decays.values()), variable


@pytest.mark.parametrize('name', sorted(EARLIER))
def test_schedules_are_those_of_the_earlier_version(name):
    config = Config(EARLIER[name]['model'], earlier_recipe(name), EARLIER[name]['steps'])
    assert durations.num_steps(config.recipe) == config.steps
    for step, rate in EARLIER[name]['learning_rates'].items():
        assert float(durations.learning_rate_at(config, int(step))) == pytest.approx(
            rate, rel=1e-12)


def test_fields_added_later_take_their_defaults():
    value = dict(name='tutorial', image_size=24, augmentation=['crop'], standardize='per_image',
                 batch_size=128, images=1280000, optimizer='sgd', learning_rate=0.1,
                 weight_decay=500., average_decay=0.9999)
    assert Recipe.from_json(value) == dataclasses.replace(
        catalog.RECIPES['tutorial'], augmentation=('crop',))

"""Parameter groups: which one a variable has, and their text."""

import dataclasses

import pytest

from permafrost.errors import UsageError
from permafrost.recipes import catalog, param_groups
from permafrost.recipes.param_groups import ParamGroup
from permafrost.recipes.recipe import Recipe

RECIPE = Recipe('test', learning_rate=0.5, weight_decay=0.01, param_groups=(
    ParamGroup('beta', learning_rate=32., weight_decay=1e-3),
    ParamGroup('conv2/bn', freeze_epoch=3)))


def test_the_last_group_that_matches_counts():
    assert param_groups.param_group_for(RECIPE, 'prep/bn/beta') == ParamGroup('beta', 32., 1e-3, 0.)
    assert param_groups.param_group_for(RECIPE, 'conv2/bn/beta') == ParamGroup(
        'conv2/bn', 0.5, 0.01, 0., 3)
    assert param_groups.param_group_for(RECIPE, 'fc/weights') == ParamGroup('', 0.5, 0.01, 0.)


@pytest.mark.parametrize('text, group', [
    ('beta', ParamGroup('beta')),
    ('fc|logits learning_rate=5 weight_decay=5e-05', ParamGroup('fc|logits', 5., 5e-5)),
    ('^conv decoupled_weight_decay=0 freeze_epoch=1.5',
     ParamGroup('^conv', decoupled_weight_decay=0., freeze_epoch=1.5))])
def test_a_group_and_its_text_are_the_same(text, group):
    assert param_groups.from_text(text, RECIPE) == group and str(group) == text


def test_the_text_of_earlier_versions_is_relative_to_the_recipe():
    def read(text, **fields):
        return param_groups.from_text(text, dataclasses.replace(RECIPE, **fields))
    assert read('beta rate=64 decay=1/64 until=3') == ParamGroup(
        'beta', 32., 0.01 / 64, freeze_epoch=3.)
    assert read('fc rate=0.6/0.12', learning_rate=0.12) == ParamGroup('fc', 0.6)
    assert read('fc decay=0.5', weight_decay=0., decoupled_weight_decay=0.1) == ParamGroup(
        'fc', decoupled_weight_decay=0.05)


@pytest.mark.parametrize('text, message', [
    ('beta rate', "'rate' is not field=number"), ('beta speed=3', "'speed=3' is not field=number"),
    ('beta pattern=3', 'not field=number'), ('beta rate=fast', "'fast' is not a number"),
    ('beta rate=-1', "'rate=-1' is not from 0 to 1e9"), ('beta until=1e300', 'is not from 0'),
    ('(a+)+$ rate=1', 'repeats too much'), ('.*.*.*.*.*x rate=1', 'repeats too much'),
    ('a' * 201, 'longer than 200 characters'), ('a{9999999999} rate=1', 'wrong parameter group'),
    ('(beta rate=1', r'wrong parameter group'), ('beta rate=1/0', "'1/0' is not a number")])
def test_a_wrong_text_is_one_line_with_an_example(text, message):
    with pytest.raises(UsageError, match=message) as error:
        param_groups.from_text(text, RECIPE)
    assert 'Write it as' in str(error.value)
    assert '\n' not in str(error.value) and '__' not in str(error.value)


def test_a_group_is_scaled_in_what_it_sets():
    group = ParamGroup('beta', learning_rate=0.1, freeze_epoch=3)
    assert group.scaled(learning_rate=3, weight_decay=5, freeze_epoch=0.5) == ParamGroup(
        'beta', learning_rate=0.3, freeze_epoch=1.5)


@pytest.mark.parametrize('name', sorted(catalog.RECIPES))
def test_groups_of_the_catalog_have_a_text(name):
    recipe = catalog.RECIPES[name]
    for group in recipe.param_groups:
        assert param_groups.from_text(str(group), recipe) == group

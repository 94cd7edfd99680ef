"""Checks of whole recipes: names, numbers, and images that they fit, all without TensorFlow."""

import dataclasses
import inspect
import subprocess
import sys
import warnings

import pytest

from permafrost.errors import UsageError, UserError
from permafrost.inputs import augmentation, normalization
from permafrost.recipes import catalog, checks, recipe, schedules
from permafrost.recipes.param_groups import ParamGroup
from permafrost.training.optimization import optimizers
from tests.processes import ROOT

TUTORIAL = catalog.RECIPES['tutorial']


def test_the_names_are_those_that_are_implemented():
    assert set(checks.AUGMENTATION_NUMBERS) == set(augmentation.AUGMENTATIONS)
    assert set(recipe.OPTIMIZER_NAMES) == set(optimizers.OPTIMIZERS)
    assert set(recipe.NORMALIZATION_NAMES) == set(normalization.NORMALIZATIONS)
    assert set(checks.WHOLE_IMAGE) == {
        name for name, kind in normalization.NORMALIZATIONS.items() if kind.before_crop}
    assert set(checks.PADDING) <= set(augmentation.AUGMENTATIONS)
    counts = {name: len(inspect.signature(function).parameters) - 3
              for name, function in augmentation.AUGMENTATIONS.items()}
    assert counts == {name: len(numbers) for name, numbers in checks.AUGMENTATION_NUMBERS.items()}


def test_augmentations_have_their_number_or_the_usual_one():
    changed = dataclasses.replace(TUTORIAL, augmentation=(
        'flip', 'pad_crop', 'cutout:3', 'contrast', 'contrast:0.5', 'contrast:0.9:1.1'))
    assert checks.augmentations(changed) == [
        ('flip', []), ('pad_crop', [4.]), ('cutout', [3.]), ('contrast', [0.2, 1.8]),
        ('contrast', [0.5, 1.8]), ('contrast', [0.9, 1.1])]


@pytest.mark.parametrize('texts, message', [
    (('flip', 'flip'), '^augmentation flip,flip has flip twice: leave one out$'),
    (('cutout:8', 'flip', 'cutout:16'), 'has cutout twice'),
    (('pad_crop:4', 'reflect_crop:4'), 'has both pad_crop and reflect_crop: leave one out$'),
    (('crop', 'pad_crop'), 'has both crop and pad_crop'),
    (('flip', 'alternate_flip'), 'has both flip and alternate_flip'),
    (('crop:2.5',), "^invalid number in augmentation 'crop:2.5': use a whole number of pixels$"),
    (('pad_crop:0.9',), 'use a whole number'), (('reflect_crop:1.1',), 'use a whole number'),
    (('flip', 'cutout:0.5',), "invalid number in augmentation 'cutout:0.5'")])
def test_augmentations_without_a_right_effect_are_not_trained(texts, message):
    recipe = dataclasses.replace(TUTORIAL, augmentation=texts)
    with pytest.raises(UsageError, match=message):
        checks.check_augmentation(recipe)
    checks.check(recipe)  # an earlier run can be loaded


@pytest.mark.parametrize('changes, height, message', [
    ({}, 23, 'image_size=24 cannot be cut from images of 23x40: .* N from 1 to 23'),
    ({'augmentation': ('pad_crop:30',)}, 28,
     'pad_crop:30 can move a 28-pixel image out of view: use at most 27'),
    ({'augmentation': ('cutout:25',)}, 32, 'cutout:25 does not fit into images of 24 pixels')])
def test_images_that_do_not_fit_are_refused(changes, height, message):
    with pytest.raises(UserError, match=message):
        checks.check_images(dataclasses.replace(TUTORIAL, **changes), height, 40)
    checks.check_images(TUTORIAL, 24, 24)


@pytest.mark.parametrize('name, value, works', [
    ('ema_every', 5, {'ema_decay': 0.9}), ('ema_epochs', 2., {'ema_decay': 0.9}),
    ('spared_layers', ('conv1',), {'sparsity': 0.5}),
    ('spared_layers', (), {'structured_sparsity': 0.5}),
    ('prune_epochs', 3., {'structured_sparsity': 0.5}),
    ('prune_start_epoch', 3., {'sparsity': 0.5}), ('sparsity_scope', 'global', {'sparsity': 0.5})])
def test_a_setting_without_effect_is_named(name, value, works):
    base = dataclasses.replace(TUTORIAL, ema_decay=0.)
    recipe = dataclasses.replace(base, **{name: value})
    line, = checks.settings_without_effect(recipe, base)
    assert line.startswith(f'{name} has no effect without ') and ': add --' in line
    assert not checks.settings_without_effect(recipe, recipe)  # the recipe has it itself
    assert not checks.settings_without_effect(base, recipe)  # set to the default
    assert not checks.settings_without_effect(dataclasses.replace(recipe, **works), base)


def test_variables_that_are_frozen_after_the_training_are_named():
    late, in_time = (dataclasses.replace(
        TUTORIAL, param_groups=(ParamGroup('fc', freeze_epoch=epoch), ParamGroup('beta')))
        for epoch in (25.6, 25.5))
    assert checks.settings_without_effect(late, TUTORIAL) == [
        'freeze_epoch=25.6 has no effect: the training ends at epoch 25.6']
    assert not checks.settings_without_effect(late, late)  # the recipe has it itself
    assert not checks.settings_without_effect(in_time, TUTORIAL)


def test_two_kinds_of_weight_decay_are_refused():
    with pytest.raises(UsageError, match='has two kinds of weight decay'):
        checks.check(dataclasses.replace(TUTORIAL, weight_decay=0.1))


@pytest.mark.parametrize('changes, message', [
    ({'sparsity': .5, 'structured_sparsity': .5}, 'has two kinds of pruning'),
    ({'structured_sparsity': .5, 'sparsity_scope': 'global'}, 'not for structured_sparsity'),
    ({'sparsity': .5, 'prune_start_epoch': 20., 'prune_epochs': 6.},
     'pruning ends at epoch 26, and the training at epoch 25.6'),
    ({'structured_sparsity': .5, 'prune_start_epoch': 25.6},
     'pruning would start at epoch 25.6, and the training ends at epoch 25.6: lower prune_start')])
def test_pruning_that_cannot_be_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        checks.check(dataclasses.replace(TUTORIAL, **changes))
    checks.check(dataclasses.replace(TUTORIAL, sparsity=.5, prune_start_epoch=20.))


@pytest.mark.parametrize('text, problem', [
    *((text, 'its epochs and factors must be 0 or more') for text in (
        'linear 0:1 5:-1', 'steps -5:0.1', 'cosine 5 -1 2', 'one_cycle 5 0 -0.1')),
    ('linear 0:1e+308 1:1', 'the learning rate is not finite at epoch 0'),
    ('linear 0:1 20:1e+39', 'the learning rate is not finite at epoch 20'),  # in float32
    ('exponential 100 0.001', 'the learning rate is not finite at epoch 25.6'),
    ('staircase 10 0.5', 'the learning rate is not finite at epoch 25.6')])
def test_a_learning_rate_that_is_negative_or_overflows_is_not_trained(text, problem):
    recipe = dataclasses.replace(TUTORIAL, schedule=schedules.from_text(text))
    with pytest.raises(UsageError) as error:
        checks.check_schedule(recipe)
    assert str(error.value) == f"wrong schedule '{text}': {problem}"
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        checks.check(recipe)  # an earlier run can be loaded


@pytest.mark.parametrize('text', [
    'linear 0:0.1 1:0.3 2:0', 'cosine 5 0.5 2', 'exponential 1e-300 1e-9', 'exponential 10 25'])
def test_a_learning_rate_may_rise_and_may_be_zero(text):
    checks.check_schedule(dataclasses.replace(TUTORIAL, schedule=schedules.from_text(text)))


@pytest.mark.parametrize('name', sorted(catalog.RECIPES))
def test_every_recipe_is_right(name):
    checks.check(catalog.RECIPES[name])
    checks.check_schedule(catalog.RECIPES[name])
    checks.check_augmentation(catalog.RECIPES[name])
    checks.check_images(catalog.RECIPES[name], 32, 32)


def test_a_wrong_value_is_found_before_tensorflow_is_imported():
    messages = {'optimizer=adm': 'did you mean adam', 'augmentation=crap': 'did you mean crop',
                'augmentation=contrast:2': 'from 0 to 1.8',
                'normalize=per_chanel': 'mean per_channel'}
    code = ('import sys\nfrom permafrost.recipes import overrides\n'
            'for change in sys.argv[1:]:\n'
            '    try:\n        overrides.get_recipe("tutorial", [change])\n'
            '    except Exception as error:\n        print(error, "tensorflow" in sys.modules)')
    done = subprocess.run([sys.executable, '-c', code, *messages], cwd=ROOT,
                          stdout=subprocess.PIPE, universal_newlines=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(messages)
    for line, message in zip(lines, messages.values()):
        assert message in line and line.endswith(' False'), line

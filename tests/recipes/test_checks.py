"""Checks of whole recipes: names, numbers, and images that they fit, all without TensorFlow."""

import dataclasses
import inspect
import subprocess
import sys

import pytest

from permafrost.errors import UsageError, UserError
from permafrost.inputs import augmentation, normalization
from permafrost.recipes import catalog, checks, recipe
from permafrost.training.optimization import optimizers
from tests.processes import ROOT

TUTORIAL = catalog.RECIPES['tutorial']


def test_the_names_are_those_that_are_implemented():
    assert set(checks.AUGMENTATIONS) == set(augmentation.AUGMENTATIONS)
    assert set(recipe.OPTIMIZERS) == set(optimizers.OPTIMIZERS)
    assert set(recipe.NORMALIZATIONS) == set(normalization.NORMALIZATIONS)
    assert set(checks.WHOLE_IMAGE) == {
        name for name, kind in normalization.NORMALIZATIONS.items() if kind.before_crop}
    assert set(checks.PADDING) <= set(augmentation.AUGMENTATIONS)
    counts = {name: len(inspect.signature(function).parameters) - 3
              for name, function in augmentation.AUGMENTATIONS.items()}
    assert counts == {name: len(numbers) for name, numbers in checks.AUGMENTATIONS.items()}


def test_augmentations_have_their_number_or_the_usual_one():
    changed = dataclasses.replace(TUTORIAL, augmentation=(
        'flip', 'pad_crop', 'cutout:3', 'contrast', 'contrast:0.5', 'contrast:0.9:1.1'))
    assert checks.augmentations(changed) == [
        ('flip', []), ('pad_crop', [4.]), ('cutout', [3.]), ('contrast', [0.2, 1.8]),
        ('contrast', [0.5, 1.8]), ('contrast', [0.9, 1.1])]


@pytest.mark.parametrize('changes, height, message', [
    ({}, 23, 'image_size=24 cannot be cut from images of 23x40: .* N from 1 to 23'),
    ({'augmentation': ('pad_crop:30',)}, 28, 'pad_crop:30 moves images of 28 pixels out of sight'),
    ({'augmentation': ('cutout:25',)}, 32, 'cutout:25 does not fit into images of 24 pixels')])
def test_images_that_do_not_fit_are_refused(changes, height, message):
    with pytest.raises(UserError, match=message):
        checks.check_images(dataclasses.replace(TUTORIAL, **changes), height, 40)
    checks.check_images(TUTORIAL, 24, 24)


def test_two_kinds_of_weight_decay_are_refused():
    with pytest.raises(UsageError, match='has two kinds of weight decay'):
        checks.check(dataclasses.replace(TUTORIAL, weight_decay=0.1))


@pytest.mark.parametrize('changes, message', [
    ({'sparsity': .5, 'structured_sparsity': .5}, 'has two kinds of pruning'),
    ({'prune_epochs': 3.}, 'have no effect without a sparsity'),
    ({'structured_sparsity': .5, 'sparsity_scope': 'global'}, 'has no effect without a sparsity'),
    ({'sparsity': .5, 'prune_start_epoch': 20., 'prune_epochs': 6.},
     'pruning ends at epoch 26, and the training at epoch 25.6'),
    ({'structured_sparsity': .5, 'prune_start_epoch': 25.6}, 'lower prune_start_epoch')])
def test_pruning_that_cannot_be_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        checks.check(dataclasses.replace(TUTORIAL, **changes))
    checks.check(dataclasses.replace(TUTORIAL, sparsity=.5, prune_start_epoch=20.))


@pytest.mark.parametrize('name', sorted(catalog.RECIPES))
def test_every_recipe_is_right(name):
    checks.check(catalog.RECIPES[name])
    checks.check_images(catalog.RECIPES[name], 32, 32)


@pytest.mark.parametrize('change, message', [
    ('optimizer=adm', 'did you mean adam'), ('augmentation=crap', 'did you mean crop'),
    ('augmentation=contrast:2', 'from 0 to 1.8'), ('normalize=per_chanel', 'mean per_channel')])
def test_a_wrong_value_is_found_before_tensorflow_is_imported(change, message):
    code = ('import sys\nfrom permafrost.recipes import overrides\n'
            'try:\n    overrides.get_recipe("tutorial", [sys.argv[1]])\n'
            'except Exception as error:\n    print(error, "tensorflow" in sys.modules)')
    done = subprocess.run([sys.executable, '-c', code, change], cwd=ROOT, stdout=subprocess.PIPE,
                          universal_newlines=True)
    assert message in done.stdout and done.stdout.endswith(' False\n'), done.stdout

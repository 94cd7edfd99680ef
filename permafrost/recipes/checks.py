"""Checks of a whole recipe, without TensorFlow: settings that go together, images that fit."""

import math
import re
from typing import Dict, List, NamedTuple, Tuple

from permafrost.errors import UsageError, UserError, shown, unknown_name_error
from permafrost.recipes import durations
from permafrost.recipes.recipe import DECAY_MODES, Recipe


class Number(NamedTuple):
    """A number after a colon of an augmentation, `cutout:8`."""
    default: float
    maximum: float = 1024.


# inputs.augmentation has a function for each name, which takes these numbers.
AUGMENTATIONS: Dict[str, Tuple[Number, ...]] = {
    'crop': (Number(math.inf),), 'pad_crop': (Number(4.),), 'reflect_crop': (Number(4.),),
    'flip': (), 'alternate_flip': (), 'cutout': (Number(8.),), 'brightness': (Number(63., 255.),),
    'contrast': (Number(0.2, 1.8), Number(1.8, 10.))}
PADDING = {'pad_crop': 'CONSTANT', 'reflect_crop': 'REFLECT'}  # modes of tf.pad
ON_PIXELS = ('brightness',)  # in units of pixels, 0 to 255: not for normalized values
WHOLE_IMAGE = ('per_pixel', 'yuv_local')  # normalizations of the image before the crop


def check(recipe: Recipe) -> None:
    """Raise UsageError if settings of `recipe` do not go together."""
    decays = {name: getattr(recipe, name) for name in DECAY_MODES.values()}
    if sum(map(bool, decays.values())) > 1:
        values = ', '.join(f'{name}={number:g}' for name, number in decays.items() if number)
        raise UsageError(f'{recipe.name} has two kinds of weight decay ({values}): set one to 0')
    num_epochs = durations.num_epochs(recipe)
    try:
        recipe.schedule.factor_at(0., num_epochs)
    except ValueError:
        raise UsageError(f'wrong schedule {shown(str(recipe.schedule))}: its peak must be within '
                         f'the {num_epochs:g} epochs of the recipe') from None
    recipe.progressive_resizing.check(recipe.image_size, num_epochs)
    _check_pruning(recipe, num_epochs)
    for name, _ in augmentations(recipe):
        if name in ON_PIXELS and recipe.normalize in WHOLE_IMAGE:
            raise UsageError(f'{name} needs pixels, and normalize={recipe.normalize} changes them '
                             f'first: leave {name} out, or use normalize=per_channel')


def _check_pruning(recipe: Recipe, num_epochs: float) -> None:
    if recipe.sparsity and recipe.structured_sparsity:
        raise UsageError(f'{recipe.name} has two kinds of pruning: set sparsity or '
                         'structured_sparsity to 0')
    end = recipe.prune_start_epoch + recipe.prune_epochs
    latest = num_epochs * (1 + 1e-9)  # a recipe made longer or shorter rounds its epochs
    if not recipe.sparsity and not recipe.structured_sparsity and end:
        raise UsageError('prune_start_epoch and prune_epochs have no effect without a sparsity: '
                         'add --sparsity=0.8 or --structured_sparsity=0.5')
    if recipe.sparsity_scope == 'global' and not recipe.sparsity:
        raise UsageError('sparsity_scope=global has no effect without a sparsity: add '
                         '--sparsity=0.8')
    if end > latest or recipe.prune_start_epoch >= num_epochs:
        raise UsageError(f'pruning ends at epoch {end:g}, and the training at epoch '
                         f'{num_epochs:g}: lower prune_start_epoch or prune_epochs')


def check_images(recipe: Recipe, height: int, width: int) -> None:
    """Raise UserError if `recipe` cannot use images of this size, in pixels."""
    side = min(height, width)
    if not 1 <= recipe.image_size <= side:
        raise UserError(f'image_size={recipe.image_size} cannot be cut from images of '
                        f'{height}x{width}: use --image_size=N with N from 1 to {side}')
    for name, numbers in augmentations(recipe):
        if name in PADDING and numbers[0] >= side:
            raise UsageError(f'{name}:{numbers[0]:g} moves images of {side} pixels out of sight')
        if name == 'cutout' and numbers[0] > recipe.image_size:
            raise UsageError(f'cutout:{numbers[0]:g} does not fit into images of '
                             f'{recipe.image_size} pixels')


def augmentations(recipe: Recipe) -> List[Tuple[str, List[float]]]:
    """Return the augmentations of `recipe`, each with its numbers.

    Raises UsageError.
    """
    parsed: List[Tuple[str, List[float]]] = []
    for text in recipe.augmentation:
        name, *digits = text.split(':')
        if name not in AUGMENTATIONS:
            raise unknown_name_error('augmentation', name, AUGMENTATIONS)
        numbers = AUGMENTATIONS[name]
        if len(digits) > len(numbers):
            raise UsageError(f'augmentation {shown(text)} has too many numbers: {name} takes '
                             f'{len(numbers) or "none"}')
        for each, number in zip(digits, numbers):
            if not re.fullmatch(r'[0-9]+(\.[0-9]+)?', each) or float(each) > number.maximum:
                raise UsageError(f'augmentation {shown(text)} has a wrong number: it must be from '
                                 f'0 to {number.maximum:g}')
        parsed.append((name, [float(each) for each in digits]
                       + [number.default for number in numbers[len(digits):]]))
        if name == 'contrast' and parsed[-1][1][0] > parsed[-1][1][1]:
            raise UsageError(f'augmentation {shown(text)} ends below its start')
    return parsed

"""Checks of a whole recipe, without TensorFlow: settings that go together, images that fit."""

import math
import re
from typing import Dict, List, NamedTuple, Optional, Tuple

from permafrost.errors import UsageError, UserError, shown, unknown_name_error
from permafrost.recipes import durations
from permafrost.recipes.recipe import DECAY_MODES, Recipe


class Number(NamedTuple):
    """The number after the colon of an augmentation, `cutout:8`."""
    default: float
    maximum: float = 1024.


# inputs.augmentation has a function for each name. None: it takes no number.
AUGMENTATIONS: Dict[str, Optional[Number]] = {
    'crop': Number(math.inf), 'pad_crop': Number(4.), 'reflect_crop': Number(4.), 'flip': None,
    'alternate_flip': None, 'cutout': Number(8.), 'brightness': Number(63., 255.),
    'contrast': Number(0.2, 1.8)}
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
    """Return the augmentations of `recipe`, each with its number, if it takes one.

    Raises UsageError.
    """
    parsed: List[Tuple[str, List[float]]] = []
    for text in recipe.augmentation:
        name, colon, digits = text.partition(':')
        if name not in AUGMENTATIONS:
            raise unknown_name_error('augmentation', name, AUGMENTATIONS)
        number = AUGMENTATIONS[name]
        if number is None:
            if colon:
                raise UsageError(f'augmentation {shown(text)} has a number: {name} takes none')
            parsed.append((name, []))
            continue
        if colon and not (re.fullmatch(r'[0-9]+(\.[0-9]+)?', digits)
                          and float(digits) <= number.maximum):
            raise UsageError(f'augmentation {shown(text)} has a wrong number: it must be from 0 to '
                             f'{number.maximum:g}')
        parsed.append((name, [float(digits) if colon else number.default]))
    return parsed

"""Checks of a whole recipe, without TensorFlow: settings that go together, images that fit."""

import math
import re
from typing import Dict, List, NamedTuple, Tuple

import numpy as np

from permafrost.errors import UsageError, UserError, shown, unknown_name_error
from permafrost.recipes import durations
from permafrost.recipes.recipe import DECAY_FIELDS, Recipe


class Number(NamedTuple):
    """A number after a colon of an augmentation, `cutout:8`."""
    default: float
    maximum: float = 1024.
    is_whole: bool = False  # of pixels


# inputs.augmentation has a function for each name, which takes these numbers.
AUGMENTATION_NUMBERS: Dict[str, Tuple[Number, ...]] = {
    'crop': (Number(math.inf, is_whole=True),), 'pad_crop': (Number(4., is_whole=True),),
    'reflect_crop': (Number(4., is_whole=True),), 'flip': (), 'alternate_flip': (),
    'cutout': (Number(8., is_whole=True),), 'brightness': (Number(63., 255.),),
    'contrast': (Number(0.2, 1.8), Number(1.8, 10.))}
# Of each group a recipe has one: the last would replace what the others chose.
ALTERNATIVES = (('crop', 'pad_crop', 'reflect_crop'), ('flip', 'alternate_flip'))
PADDING = {'pad_crop': 'CONSTANT', 'reflect_crop': 'REFLECT'}  # modes of tf.pad
ON_PIXELS = ('brightness',)  # in units of pixels, 0 to 255: not for normalized values
WHOLE_IMAGE = ('per_pixel', 'yuv_local')  # normalizations of the image before the crop


def check(recipe: Recipe) -> None:
    """Raise UsageError if settings of `recipe` do not go together."""
    decays = {name: getattr(recipe, name) for name in DECAY_FIELDS}
    if sum(map(bool, decays.values())) > 1:
        values = ', '.join(f'{name}={number:g}' for name, number in decays.items() if number)
        raise UsageError(f'{recipe.name} has two kinds of weight decay ({values}): set one to 0')
    num_epochs = durations.num_epochs(recipe)
    try:
        with np.errstate(all='ignore'):  # see check_schedule
            recipe.schedule.factor_at(0., num_epochs)
    except ValueError:
        is_early = min(recipe.schedule.numbers('epoch')) <= 0
        place = 'after epoch 0' if is_early else f'within the {num_epochs:g} epochs of the recipe'
        raise _wrong_schedule(recipe, f'its peak must be {place}') from None
    recipe.progressive_resizing.check(recipe.image_size, num_epochs)
    _check_pruning(recipe, num_epochs)
    for name, _ in augmentations(recipe):
        if name in ON_PIXELS and recipe.normalize in WHOLE_IMAGE:
            raise UsageError(f'{name} needs pixels, and normalize={recipe.normalize} changes them '
                             f'first: leave {name} out, or use normalize=per_channel')


def check_schedule(recipe: Recipe) -> None:
    """Raise UsageError if the learning rate of `recipe` is negative or overflows.

    Only a new training needs this. A range test of the learning rate stops before it overflows.
    """
    if min([0., *recipe.schedule.numbers()]) < 0:
        raise _wrong_schedule(recipe, 'its epochs and factors must be 0 or more')
    num_epochs = durations.num_epochs(recipe)
    for epoch in (0., *recipe.schedule.numbers('epoch'), num_epochs):
        with np.errstate(all='ignore'):
            factor = np.float32(recipe.schedule.factor_at(epoch, num_epochs))
            is_finite = np.isfinite([factor, np.float32(recipe.learning_rate) * factor]).all()
        if not is_finite:
            raise _wrong_schedule(recipe, f'the learning rate is not finite at epoch {epoch:g}')


def _wrong_schedule(recipe: Recipe, problem: str) -> UsageError:
    return UsageError(f'wrong schedule {shown(str(recipe.schedule))}: {problem}')


def _check_pruning(recipe: Recipe, num_epochs: float) -> None:
    if recipe.sparsity and recipe.structured_sparsity:
        raise UsageError(f'{recipe.name} has two kinds of pruning: set sparsity or '
                         'structured_sparsity to 0')
    end = recipe.prune_start_epoch + recipe.prune_epochs
    latest = num_epochs * (1 + 1e-9)  # a recipe made longer or shorter rounds its epochs
    if not recipe.sparsity and not recipe.structured_sparsity:
        return
    if recipe.sparsity_scope == 'global' and recipe.structured_sparsity:
        raise UsageError('sparsity_scope is for sparsity, not for structured_sparsity: leave it '
                         'out')
    if recipe.prune_start_epoch >= num_epochs:
        raise UsageError(f'pruning would start at epoch {recipe.prune_start_epoch:g}, and the '
                         f'training ends at epoch {num_epochs:g}: lower prune_start_epoch')
    if end > latest:
        raise UsageError(f'pruning ends at epoch {end:g}, and the training at epoch '
                         f'{num_epochs:g}: lower prune_start_epoch or prune_epochs')


def settings_without_effect(recipe: Recipe, base: Recipe) -> List[str]:
    """Return a line for each setting of `recipe` that changes `base` and has no effect.

    No error: a study may try what turns off another of its settings.
    """
    lines = []
    for names, works, hint in (
            (('ema_every', 'ema_epochs'), recipe.ema_decay, 'an average: add --ema_decay=0.999'),
            (('sparsity_scope',), recipe.sparsity, 'a sparsity: add --sparsity=0.8'),
            (('spared_layers', 'prune_start_epoch', 'prune_epochs'),
             recipe.sparsity or recipe.structured_sparsity,
             'a sparsity: add --sparsity=0.8 or --structured_sparsity=0.5')):
        lines += [f'{name} has no effect without {hint}' for name in names
                  if not works and getattr(recipe, name) not in (
                      getattr(base, name), getattr(Recipe, name))]
    num_epochs = durations.num_epochs(recipe)
    if recipe.param_groups != base.param_groups:
        lines += [f'freeze_epoch={group.freeze_epoch:g} has no effect: the training ends at epoch '
                  f'{num_epochs:g}' for group in recipe.param_groups
                  if num_epochs <= group.freeze_epoch < math.inf]
    return lines


def check_images(recipe: Recipe, height: int, width: int) -> None:
    """Raise UserError if `recipe` cannot use images of this size, in pixels."""
    side = min(height, width)
    if not 1 <= recipe.image_size <= side:
        raise UserError(f'image_size={recipe.image_size} cannot be cut from images of '
                        f'{height}x{width}: use --image_size=N with N from 1 to {side}')
    for name, numbers in augmentations(recipe):
        if name in PADDING and numbers[0] >= side:
            raise UsageError(f'{name}:{numbers[0]:g} can move a {side}-pixel image out of view: '
                             f'use at most {side - 1}')
        if name == 'cutout' and numbers[0] > recipe.image_size:
            raise UsageError(f'cutout:{numbers[0]:g} does not fit into images of '
                             f'{recipe.image_size} pixels: use at most {recipe.image_size}')


def check_augmentation(recipe: Recipe) -> None:
    """Raise UsageError if an augmentation would have no effect, or move images by half a pixel.

    Not a part of check(): earlier runs with such augmentations can still be used.
    """
    parsed = augmentations(recipe)
    names = [name for name, _ in parsed]
    for group in (*ALTERNATIVES, *((name,) for name in AUGMENTATION_NUMBERS)):
        first, *others = [name for name in names if name in group] or ['']
        if others:
            pair = f'{first} twice' if first in others else f'both {first} and {others[0]}'
            raise UsageError(f'augmentation {",".join(recipe.augmentation)} has {pair}: leave one '
                             'out')
    for text, (name, numbers) in zip(recipe.augmentation, parsed):
        for number, value in zip(AUGMENTATION_NUMBERS[name], numbers):
            if number.is_whole and math.isfinite(value) and value % 1:
                raise UsageError(f'invalid number in augmentation {shown(text)}: use a whole '
                                 'number of pixels')


def check_param_groups(recipe: Recipe) -> None:
    """Raise UsageError if a parameter group sets nothing. Not a part of check(), as above."""
    for group in recipe.param_groups:
        if not group.settings():
            raise UsageError(f'parameter group {shown(str(group))} sets nothing: add one such as '
                             'learning_rate=0.1 (a pattern has no comma: that separates groups)')


def check_batch_size(batch_size: int, shards: int) -> None:
    """Raise UsageError if a batch cannot be split into `shards` of one size."""
    if batch_size % shards:
        below = batch_size // shards * shards
        sizes = ' or '.join(str(size) for size in (below, below + shards) if size)
        raise UsageError(f'batch_size={batch_size} is not divisible by {shards} workers: use '
                         f'--batch_size={sizes}')


def augmentations(recipe: Recipe) -> List[Tuple[str, List[float]]]:
    """Return the augmentations of `recipe`, each with its numbers.

    Raises UsageError.
    """
    parsed: List[Tuple[str, List[float]]] = []
    for text in recipe.augmentation:
        name, *digits = text.split(':')
        if name not in AUGMENTATION_NUMBERS:
            raise unknown_name_error('augmentation', name, AUGMENTATION_NUMBERS)
        numbers = AUGMENTATION_NUMBERS[name]
        if len(digits) > len(numbers):
            raise UsageError(f'augmentation {shown(text)} has too many numbers: {name} takes '
                             f'{len(numbers) or "none"}')
        for each, number in zip(digits, numbers):
            if not re.fullmatch(r'[0-9]+(\.[0-9]+)?', each) or float(each) > number.maximum:
                raise UsageError(f'invalid number in augmentation {shown(text)}: it must be from '
                                 f'0 to {number.maximum:g}')
        parsed.append((name, [float(each) for each in digits]
                       + [number.default for number in numbers[len(digits):]]))
        if name == 'contrast' and parsed[-1][1][0] > parsed[-1][1][1]:
            raise UsageError(f'the upper bound of augmentation {shown(text)} is below the lower '
                             'bound: swap them')
    return parsed

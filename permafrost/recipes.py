"""Named recipes, and what turns their images and epochs into steps and learning rates."""

import dataclasses

from permafrost.config import Recipe, UsageError, nearest

RECIPES = {}


def _recipe(about, name, **fields):
    RECIPES[name] = Recipe(name, about=about, **fields)


_recipe("""As the TensorFlow tutorial trained: distorted 24x24 crops, SGD 0.1, weight averages.

`python train.py --model tuto --recipe tutorial`; accuracy in README.md.""",
        'tutorial', image_size=24, augmentation=('crop', 'flip', 'brightness', 'contrast'))

_recipe("""The whole 32x32 image, standardized, without augmentation.

`python train.py --model cs231n --recipe plain`; accuracy in README.md.""",
        'plain', image_size=32)


def recipe(name, changes=()):
    """The recipe `name` with `changes` ('field=value' strings), checked.

    Raises:
      UsageError: an unknown recipe or field, or a value that cannot be meant.
    """
    if name not in RECIPES:
        raise nearest('recipe', name, RECIPES)
    return _check(dataclasses.replace(RECIPES[name], **dict(map(_change, changes))))


def _change(change):
    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    field, equals, value = change.partition('=')
    if not equals:
        raise UsageError('--set takes field=value, not %r' % change)
    if field not in fields or field in ('name', 'about'):
        raise nearest('recipe field', field, set(fields) - {'name', 'about'})
    kind = fields[field].type
    try:
        if kind in (int, float):
            return field, kind(value)
        return field, value if kind is str else tuple(v for v in value.split(',') if v)
    except ValueError:
        raise UsageError('--set %s: %r is not %s' % (
            field, value, {int: 'a whole number', float: 'a number'}[kind]))


def _check(value):
    for field in ('image_size', 'batch_size', 'images'):
        if getattr(value, field) < 1:
            raise UsageError('%s must be at least 1, not %d' % (field, getattr(value, field)))
    for field in ('learning_rate', 'weight_decay'):
        if not 0 <= getattr(value, field) < float('inf'):
            raise UsageError('%s must be 0 or more, not %g' % (field, getattr(value, field)))
    if not 0 <= value.average_decay < 1:
        raise UsageError('average_decay must be in [0, 1), not %g' % value.average_decay)
    return value


def steps(value):
    """The number of steps in which `value.images` images are trained on, rounded up."""
    return -(-value.images // value.batch_size)


def learning_rate(value, global_step):
    """The learning rate at `global_step`, a Python number or a scalar tensor."""
    del global_step  # every recipe so far is constant
    return value.learning_rate

"""Overrides: a recipe with the fields that --set changes, checked."""

import dataclasses
import math
import re
from typing import Any, Dict, List, Sequence

import models
from permafrost import runtime
from permafrost.errors import UsageError, unknown_name_error
from permafrost.recipes import catalog, durations, number_text, param_groups
from permafrost.recipes.recipe import DECAY_MODES, EARLIER_NAMES, Recipe

COMPUTE_DTYPES = ('float32', 'bfloat16')


def _names(text: str) -> List[str]:
    return [name for name in text.split(',') if name.strip()]


FIELDS: Dict[str, Any] = {  # {name: function of the text}
    field.name: field.type for field in dataclasses.fields(Recipe)
    if field.compare and field.name != 'name'}
FIELDS.update(schedule=str, augmentation=_names, param_groups=_names, decay_mode=str)


def get_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe `name` with `changes` ('field=value'), checked.

    A recipe made longer or shorter rescales everything that it does at an epoch, and a changed
    learning rate or weight decay rescales those of the parameter groups, unless a change sets
    the field itself. Raises UsageError.
    """
    if name not in catalog.RECIPES:
        raise unknown_name_error('recipe', name, catalog.RECIPES)
    base_json, fields = catalog.RECIPES[name].to_json(), _parse(changes)
    if 'decay_mode' in fields:
        _set_decay_mode(base_json, fields['decay_mode'])
    base, recipe = Recipe.from_json(base_json), Recipe.from_json({**base_json, **fields})
    _check_ranges(recipe)
    if 'train_images' in fields and recipe.epochs:
        raise UsageError(f'{name} has a length of {recipe.epochs:g} epochs, so train_images has no '
                         'effect. Use --set epochs=... instead')
    if 'epochs' in fields and not recipe.epochs and 'train_images' not in fields:
        raise UsageError('--set epochs=0 needs a length in images: add --set train_images=...')
    num_epochs = durations.num_epochs(recipe)
    longer = num_epochs / durations.num_epochs(base)
    rescaled: Dict[str, Any] = {}
    if 'schedule' not in fields:
        rescaled['schedule'] = recipe.schedule.rescaled(longer)
    if 'ema_epochs' not in fields:
        rescaled['ema_epochs'] = recipe.ema_epochs * longer
    if 'param_groups' not in fields:
        ratios = {field: getattr(recipe, field) / getattr(base, field)
                  for field in param_groups.RATES if getattr(base, field)}
        rescaled['param_groups'] = tuple(
            group.scaled(freeze_epoch=longer, **ratios) for group in recipe.param_groups)
    recipe = dataclasses.replace(recipe, **rescaled)
    try:
        recipe.schedule.factor_at(0., num_epochs)
    except ValueError:
        raise UsageError(f'wrong schedule {str(recipe.schedule)!r}: its peak must be within the '
                         f'{num_epochs:g} epochs of the recipe') from None
    return recipe


def recipe_of_flags(values: Any) -> Recipe:
    """Return the recipe that the flags `values` of train.py choose. Raises UsageError."""
    if values.model not in models.MODELS:
        raise unknown_name_error('model', values.model, models.MODELS)
    return get_recipe(values.recipe or catalog.default_recipe(values.model), values.set)


def _parse(changes: Sequence[str]) -> Dict[str, Any]:
    """Return {field: value} of the `changes`, as in the json of a recipe."""
    values = {}
    for change in changes:
        field, equals, text = change.partition('=')
        field = EARLIER_NAMES.get(field, field)
        if not equals:
            raise UsageError(f'--set needs field=value, not {change!r}')
        if field not in FIELDS:
            raise unknown_name_error('recipe field', field, FIELDS)
        kind = FIELDS[field]
        try:
            values[field] = number_text.parse(text) if kind is float else kind(text)
        except ValueError:
            raise UsageError(f'--set {field}: {text!r} is not a '
                             f"{'whole ' if kind is int else ''}number") from None
    return values


def _set_decay_mode(value: Dict[str, Any], mode: str) -> None:
    """Set the earlier field decay_mode of a recipe's json."""
    if mode not in DECAY_MODES:
        raise unknown_name_error('decay_mode', mode, DECAY_MODES)
    setting = '' if mode == 'layers' else rf' {DECAY_MODES[mode]}=\1'
    value.update(
        decay_mode=mode, weight_decay=max(value.pop(field) for field in DECAY_MODES.values()),
        param_groups=[re.sub(r' \w*weight_decay=(\S+)', setting, group)
                      for group in value['param_groups']])


def _check_ranges(recipe: Recipe) -> None:
    decays = {field: getattr(recipe, field) for field in DECAY_MODES.values()}
    for condition, minimum, limit, fields in (
            ('at least 1', 1, math.inf, ('image_size', 'batch_size', 'train_images', 'ema_every')),
            ('0 or more', 0, math.inf, ('learning_rate', 'epochs', 'ema_epochs', *decays)),
            ('in [0, 1)', 0, 1, ('ema_decay', 'momentum', 'label_smoothing'))):
        for field in fields:
            if not minimum <= getattr(recipe, field) < limit:
                raise UsageError(f'{field} must be {condition}, not {getattr(recipe, field):g}')
    if sum(map(bool, decays.values())) > 1:
        values = ', '.join(f'{field}={number:g}' for field, number in decays.items() if number)
        raise UsageError(f'{recipe.name} has two kinds of weight decay ({values}): set one to 0')
    if recipe.compute_dtype not in COMPUTE_DTYPES:
        raise unknown_name_error('compute_dtype', recipe.compute_dtype, COMPUTE_DTYPES)


def with_supported_precision(recipe: Recipe) -> Recipe:
    """Return `recipe` as this engine and processor can train it; print a note if it changes."""
    if recipe.compute_dtype == 'float32' or runtime.has_bfloat16(runtime.installed()):
        return recipe
    print(f'note: compute_dtype float32, not {recipe.compute_dtype}, which needs tf2 and a '
          'processor with AVX512_BF16 or AMX', flush=True)
    return dataclasses.replace(recipe, compute_dtype='float32')

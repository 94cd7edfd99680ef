"""Overrides: a recipe with the fields that --set changes, checked."""

import dataclasses
from typing import Any, Dict, Sequence

from permafrost import runtime
from permafrost.errors import UsageError, unknown_name_error
from permafrost.recipes import catalog, durations, number_text, param_groups, schedules
from permafrost.recipes.recipe import DECAY_MODES, EARLIER_NAMES, Recipe

COMPUTE_DTYPES = ('float32', 'bfloat16')
FIELDS: Dict[str, Any] = {  # name: type
    field.name: field.type for field in dataclasses.fields(Recipe)
    if field.compare and field.name != 'name'}


def get_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe `name` with `changes` ('field=value'), checked.

    A recipe made longer or shorter rescales everything that it does at an epoch, and a changed
    learning rate or weight decay rescales those of the parameter groups, unless a change sets
    the field itself.

    Raises UsageError for an unknown recipe or field, or a wrong value.
    """
    if name not in catalog.RECIPES:
        raise unknown_name_error('recipe', name, catalog.RECIPES)
    base, texts = catalog.RECIPES[name], _texts(changes)
    decay_mode = texts.pop('decay_mode', None)
    if decay_mode is not None:
        base = _with_decay_mode(base, decay_mode)
        if 'weight_decay' in texts:
            texts[DECAY_MODES[decay_mode]] = texts.pop('weight_decay')
    groups = texts.pop('param_groups', None)
    recipe = dataclasses.replace(base, **{
        field: _value(field, text) for field, text in texts.items()})
    _check(recipe)
    if 'train_images' in texts and recipe.epochs:
        raise UsageError(f'{name} has a length of {recipe.epochs:g} epochs, so train_images has no '
                         'effect. Use --set epochs=... instead')
    if 'epochs' in texts and not recipe.epochs and 'train_images' not in texts:
        raise UsageError('--set epochs=0 needs a length in images: add --set train_images=...')
    longer = durations.num_epochs(recipe) / durations.num_epochs(base)
    if longer != 1 and 'schedule' not in texts:
        recipe = dataclasses.replace(recipe, schedule=recipe.schedule.rescaled(longer))
    if longer != 1 and 'ema_epochs' not in texts:
        recipe = dataclasses.replace(recipe, ema_epochs=recipe.ema_epochs * longer)
    recipe.schedule.factor_at(0., durations.num_epochs(recipe))  # raises if its peak is outside
    if groups is not None:
        return dataclasses.replace(recipe, param_groups=tuple(
            param_groups.from_text(text, recipe) for text in groups.split(',') if text.strip()))
    ratios = {field: getattr(recipe, field) / getattr(base, field)
              for field in ('learning_rate', 'weight_decay', 'decoupled_weight_decay')
              if getattr(base, field)}
    return dataclasses.replace(recipe, param_groups=tuple(
        group.scaled(freeze_epoch=longer, **ratios) for group in recipe.param_groups))


def _texts(changes: Sequence[str]) -> Dict[str, str]:
    """Return {field: text} of the `changes`, earlier names of fields replaced by today's."""
    texts = {}
    for change in changes:
        field, equals, text = change.partition('=')
        field = EARLIER_NAMES.get(field, field)
        if not equals:
            raise UsageError(f'--set needs field=value, not {change!r}')
        if field not in FIELDS and field != 'decay_mode':
            raise unknown_name_error('recipe field', field, FIELDS)
        texts[field] = text
    return texts


def _with_decay_mode(recipe: Recipe, mode: str) -> Recipe:
    """Return `recipe` with its weight decay moved to the field that the earlier `mode` names."""
    if mode not in DECAY_MODES:
        raise unknown_name_error('decay_mode', mode, DECAY_MODES)
    decays: Dict[str, Any] = dict.fromkeys(DECAY_MODES.values(), 0.)
    decays[DECAY_MODES[mode]] = max(getattr(recipe, field) for field in decays)
    groups = []
    for group in recipe.param_groups:
        settings = group.settings()
        values = [settings.pop(field) for field in decays if field in settings]
        if values and mode != 'layers':
            settings[DECAY_MODES[mode]] = values[0]
        groups.append(param_groups.ParamGroup(group.pattern, **settings))
    return dataclasses.replace(recipe, param_groups=tuple(groups), **decays)


def _value(field: str, text: str) -> Any:
    """Return the value of `field` that `text` writes."""
    if field == 'schedule':
        return schedules.from_text(text)
    if field == 'augmentation':
        return tuple(name for name in text.split(',') if name.strip())
    kind = FIELDS[field]
    try:
        return number_text.parse(text) if kind is float else kind(text)
    except ValueError:
        raise UsageError(f'--set {field}: {text!r} is not a '
                         f"{'whole ' if kind is int else ''}number") from None


def _check(recipe: Recipe) -> None:
    """Raise UsageError for a number out of range or an unknown dtype."""
    decays = {field: getattr(recipe, field) for field in DECAY_MODES.values()}
    for field in ('image_size', 'batch_size', 'train_images', 'ema_every'):
        if getattr(recipe, field) < 1:
            raise UsageError(f'{field} must be at least 1, not {getattr(recipe, field)}')
    for field in ('learning_rate', 'epochs', 'ema_epochs', *decays):
        if getattr(recipe, field) < 0:
            raise UsageError(f'{field} must be 0 or more, not {getattr(recipe, field):g}')
    for field in ('ema_decay', 'momentum', 'label_smoothing'):
        if not 0 <= getattr(recipe, field) < 1:
            raise UsageError(f'{field} must be in [0, 1), not {getattr(recipe, field):g}')
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

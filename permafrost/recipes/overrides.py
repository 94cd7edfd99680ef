"""Overrides: a recipe with the fields that --set changes, checked."""

import contextlib
import dataclasses
import re
from typing import Any, Dict, List, Optional, Sequence

import models
from permafrost import runtime
from permafrost.errors import UsageError, unknown_name_error
from permafrost.recipes import catalog, checks, durations, number_text, param_groups
from permafrost.recipes.recipe import DECAY_MODES, EARLIER_NAMES, Recipe

# Names of the fields in other programs.
SYNONYMS = {
    **dict.fromkeys(('lr', 'rate', 'base_lr', 'max_lr', 'eta', 'alpha'), 'learning_rate'),
    **dict.fromkeys(('bs', 'batch', 'batchsize', 'minibatch'), 'batch_size'),
    **dict.fromkeys(('wd', 'decay', 'l2', 'l2_reg'), 'weight_decay'),
    **dict.fromkeys(('num_epochs', 'max_epochs', 'n_epochs'), 'epochs'),
    **dict.fromkeys(('opt', 'optim'), 'optimizer'),
    **dict.fromkeys(('scheduler', 'lr_schedule', 'lr_scheduler', 'sched'), 'schedule'),
    **dict.fromkeys(('aug', 'augment', 'augmentations', 'transforms'), 'augmentation'),
    **dict.fromkeys(('mom', 'beta1', 'mu'), 'momentum'),
    **dict.fromkeys(('size', 'img_size', 'input_size', 'crop_size', 'resolution'), 'image_size'),
    **dict.fromkeys(('smoothing', 'ls'), 'label_smoothing'),
    **dict.fromkeys(('ema', 'moving_average_decay'), 'ema_decay'),
    **dict.fromkeys(('dtype', 'amp', 'mixed_precision'), 'compute_dtype'),
    **dict.fromkeys(('normalization', 'norm', 'mean_std'), 'normalize')}


def _names(text: str) -> List[str]:
    return [name for name in text.split(',') if name.strip()]


FIELDS: Dict[str, Any] = {  # {name: function of the text}
    field.name: field.type for field in dataclasses.fields(Recipe)
    if field.compare and field.name != 'name'}
FOLLOWERS = ('schedule', 'ema_epochs', 'param_groups')  # get_recipe rescales them
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
    if 'momentum' in fields and recipe.optimizer in ('sgd', 'adam'):
        raise UsageError(f'optimizer {recipe.optimizer} has no momentum to set: add --set '
                         'optimizer=momentum, or leave it out')
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
    checks.check(recipe)
    return recipe


def changes(recipe: Recipe) -> List[str]:
    """Return what --set needs to make `recipe` of the recipe of its name: as few as do.

    Empty if there is no recipe of that name, as in results of other versions.
    """
    if recipe.name not in catalog.RECIPES:
        return []
    base = catalog.RECIPES[recipe.name].to_json()
    changed = {name: f'{name}={_to_text(value)}' for name, value in recipe.to_json().items()
               if value != base[name]}
    own = [text for name, text in changed.items() if name not in FOLLOWERS]
    with contextlib.suppress(UsageError):
        if get_recipe(recipe.name, own) == recipe:
            return own
    return list(changed.values())


def _to_text(value: Any) -> str:
    if isinstance(value, list):
        return ','.join(value)
    return number_text.to_text(value) if isinstance(value, float) else str(value)


def field_meant(name: str) -> Optional[str]:
    """Return the field of a recipe that `name` stands for in other programs, or here; or None."""
    name = name.lower().replace('-', '_')
    return name if name in FIELDS else SYNONYMS.get(name)


def recipe_of_flags(values: Any) -> Recipe:
    """Return the recipe that the flags `values` of train.py choose. Raises UsageError."""
    if values.model not in models.MODELS:
        raise unknown_name_error('model', values.model, models.MODELS)
    return get_recipe(values.recipe or catalog.default_recipe(values.model), values.set)


def describe_changes(recipe: Recipe) -> str:
    """Return `recipe`'s name and its `changes`, each with the value that it replaces."""
    texts = [recipe.name]
    for change in changes(recipe):
        base = _to_text(catalog.RECIPES[recipe.name].to_json()[change.partition('=')[0]])
        texts.append(f"{change} (not {base or 'none'})")
    return ', '.join(texts)


def _parse(changes: Sequence[str]) -> Dict[str, Any]:
    """Return {field: value} of the `changes`, as in the json of a recipe."""
    values = {}
    for change in changes:
        field, equals, text = change.partition('=')
        field = EARLIER_NAMES.get(field, field)
        if not equals:
            raise UsageError(f'--set needs field=value, not {change!r}')
        if field not in FIELDS and field_meant(field):
            raise UsageError(f'unknown recipe field {field!r}; did you mean {field_meant(field)}?')
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


def with_supported_precision(recipe: Recipe) -> Recipe:
    """Return `recipe` as this engine and processor can train it; print a note if it changes."""
    if recipe.compute_dtype == 'float32' or runtime.has_bfloat16(runtime.installed()):
        return recipe
    print(f'note: compute_dtype float32, not {recipe.compute_dtype}, which needs tf2 and a '
          'processor with AVX512_BF16 or AMX', flush=True)
    return dataclasses.replace(recipe, compute_dtype='float32')

"""Overrides: a recipe with the fields that flags, --set or a file change, checked."""

import contextlib
import dataclasses
import os
import re
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import models
from permafrost import engines, schema
from permafrost.errors import UsageError, UserError, printable, shown, unknown_name_error
from permafrost.recipes import catalog, checks, durations, param_groups
from permafrost.recipes.recipe import DECAY_FIELDS, DECAY_MODES, EARLIER_NAMES, Recipe
from permafrost.recipes.setting_text import parse_number, to_text, whole_number

# Names of the fields in other programs.
SYNONYMS = {
    **dict.fromkeys(('lr', 'rate', 'base_lr', 'max_lr', 'eta', 'alpha'), 'learning_rate'),
    **dict.fromkeys(('bs', 'batch', 'batchsize', 'minibatch'), 'batch_size'),
    **dict.fromkeys(('wd', 'decay', 'l2', 'l2_reg'), 'weight_decay'),
    **dict.fromkeys(('num_epochs', 'max_epochs', 'n_epochs'), 'epochs'),
    **dict.fromkeys(('opt', 'optim'), 'optimizer'),
    **dict.fromkeys(('scheduler', 'lr_schedule', 'lr_scheduler', 'sched'), 'schedule'),
    **dict.fromkeys(('aug', 'augment', 'augmentations', 'transforms'), 'augmentation'),
    **dict.fromkeys(('mom', 'mu'), 'momentum'),
    **dict.fromkeys(('size', 'img_size', 'input_size', 'crop_size', 'resolution'), 'image_size'),
    **dict.fromkeys(('progressive_resize', 'resize_schedule'), 'progressive_resizing'),
    **dict.fromkeys(('smoothing', 'ls'), 'label_smoothing'),
    **dict.fromkeys(('ema', 'moving_average_decay'), 'ema_decay'),
    **dict.fromkeys(('dtype', 'amp', 'mixed_precision'), 'compute_dtype'),
    **dict.fromkeys(('normalization', 'norm', 'mean_std'), 'normalize'),
    **dict.fromkeys(('qat', 'qat_epochs', 'quantize_epochs'), 'quantization_aware_epochs'),
    **dict.fromkeys(('pruning', 'prune', 'final_sparsity', 'target_sparsity'), 'sparsity'),
    **dict.fromkeys(('structured', 'filter_sparsity', 'prune_filters'), 'structured_sparsity')}


# Optimizers of other programs, and what they are here.
OPTIMIZER_SYNONYMS = {
    **dict.fromkeys(('adamw', 'adam_w'), 'adam with decoupled_weight_decay'),
    **dict.fromkeys(('sgd_momentum', 'sgdm', 'msgd', 'momentum_sgd'), 'momentum'),
    **dict.fromkeys(('nag', 'sgd_nesterov'), 'nesterov')}


def _names(text: str) -> List[str]:
    return [] if text == 'none' else [name.strip() for name in text.split(',') if name.strip()]


FIELDS: Dict[str, Any] = {  # {name: type of the value in json}
    **{field.name: field.type for field in dataclasses.fields(Recipe)
       if field.compare and field.name != 'name'},
    **dict.fromkeys(('schedule', 'progressive_resizing', 'decay_mode'), str),
    **dict.fromkeys(('augmentation', 'param_groups', 'spared_layers'), list)}
PARSERS: Dict[type, Callable[[str], Any]] = {
    float: parse_number, int: whole_number, list: _names, str: str}
FLAG_FIELDS = [field for field in dataclasses.fields(Recipe) if field.metadata.get('text')]
# Durations, which with_changes rescales with the length of the training.
EPOCHS = ('ema_epochs', 'quantization_aware_epochs', 'prune_start_epoch', 'prune_epochs')
# Fields that follow from the length and the learning rate, unless they are set.
DERIVED = ('schedule', 'progressive_resizing', *EPOCHS, 'param_groups')
SOMETIMES_UNUSED = ('momentum', 'train_images')  # by some recipes: setting them there is refused
FIX = 'restore it, or name another --recipe'


def get_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Return find_recipe(name) with `changes` ('field=value'), checked. Raises UserError."""
    return with_changes(find_recipe(name), changes)


def with_changes(base: Recipe, changes: Sequence[str]) -> Recipe:
    """Return `base` with `changes` ('field=value'); see _with_fields. Raises UsageError."""
    return _with_fields(base, _parse(changes))


def find_recipe(name: str) -> Recipe:
    """Return the recipe `name`: of the catalog, or in a json file, or of the run in a directory.

    The file is a run's config.json, a result, or an object with fields of a recipe: those that it
    leaves out are the ones of the recipe that its `name` names. Fields may have earlier names.
    Raises UserError.
    """
    if name in catalog.RECIPES:
        return catalog.RECIPES[name]
    if not (os.sep in name or name.endswith('.json') or os.path.isdir(name)):
        raise unknown_name_error('recipe', name, catalog.RECIPES)
    path = os.path.join(name, 'config.json') if os.path.isdir(name) else name
    try:
        value = schema.read(path, Dict[str, Any], FIX)
    except OSError as error:
        raise UserError(f'cannot read {printable(path)} ({error.strerror}): name a recipe, a json '
                        'file or a run with --recipe')
    try:
        if 'config' in value:
            config = schema.check(value['config'], Dict[str, Any], 'config')
            return Recipe.from_json(config.get('recipe'), 'config.recipe')
        if 'settings' in value:
            return Recipe.from_json(value['settings'], 'settings')
        base_name = schema.check(value.pop('name', 'custom'), str, 'name')
        base = catalog.RECIPES.get(base_name) or Recipe.from_json(
            dict(Recipe('custom').to_json(), name=base_name))
        fields = {_field(name): each for name, each in value.items()}
        # A file with all fields has those that its recipe does not use, too.
        return _with_fields(base, {name: each for name, each in fields.items()
                              if name not in SOMETIMES_UNUSED or each != getattr(base, name)})
    except UsageError as error:
        raise UserError(f'{printable(path)} is not a valid recipe ({error}): {FIX}') from None


def _with_fields(base: Recipe, fields: Mapping[str, Any]) -> Recipe:
    """Return `base` with other `fields`, {name: value as in json}, checked.

    A recipe made longer or shorter rescales everything that it does at an epoch, and a changed
    learning rate or weight decay rescales those of the parameter groups, unless `fields` has the
    field itself. Raises UsageError.
    """
    base_json = base.to_json()
    optimizer = schema.check(fields.get('optimizer', ''), str, 'optimizer')
    if optimizer in OPTIMIZER_SYNONYMS:
        raise UsageError(f'unknown optimizer {optimizer!r}; use {OPTIMIZER_SYNONYMS[optimizer]}')
    if 'decay_mode' in fields:
        _set_decay_mode(base_json, fields['decay_mode'])
    base, recipe = Recipe.from_json(base_json), Recipe.from_json({**base_json, **fields})
    if 'momentum' in fields and recipe.optimizer in ('sgd', 'adam'):
        raise UsageError(f'optimizer {recipe.optimizer} has no momentum to set: add '
                         '--optimizer=momentum, or leave it out')
    if 'train_images' in fields and recipe.epochs:
        raise UsageError(f'{base.name} has a length of {recipe.epochs:g} epochs, so train_images '
                         'has no effect. Use --epochs=... instead')
    if base.epochs and not recipe.epochs and 'train_images' not in fields:
        raise UsageError('--epochs=0 needs a length in images: add --train_images=...')
    num_epochs = durations.num_epochs(recipe)
    longer = num_epochs / durations.num_epochs(base)
    rescaled: Dict[str, Any] = {name: getattr(recipe, name) * longer
                                for name in EPOCHS if name not in fields}
    for name in ('schedule', 'progressive_resizing'):
        if name not in fields:
            rescaled[name] = getattr(recipe, name).rescaled(longer)
    if 'param_groups' not in fields:
        ratios = {field: getattr(recipe, field) / getattr(base, field)
                  for field in param_groups.RATES if getattr(base, field)}
        rescaled['param_groups'] = tuple(
            group.scaled(freeze_epoch=longer, **ratios) for group in recipe.param_groups)
    recipe = dataclasses.replace(recipe, **rescaled)
    checks.check(recipe)
    checks.check_schedule(recipe)
    if 'augmentation' in fields:  # not of an earlier run
        checks.check_augmentation(recipe)
    if 'param_groups' in fields:
        checks.check_param_groups(recipe)
    return recipe


def differences(recipe: Recipe, base: Optional[Recipe] = None) -> List[str]:
    """Return the shortest list of field=value that turns the recipe of the same name into `recipe`.

    Without a recipe of that name, as in a file, of `base`; none if that is not known either.
    """
    base = catalog.RECIPES.get(recipe.name, base)
    if base is None:
        return []
    base_json = base.to_json()
    different = {name: f'{name}={to_text(value)}' for name, value in recipe.to_json().items()
                 if value != base_json[name] and name != 'name'}
    own = [text for name, text in different.items() if name not in DERIVED]
    with contextlib.suppress(UsageError):
        if with_changes(base, own) == recipe:
            return own
    return list(different.values())


def field_meant(name: str) -> Optional[str]:
    """Return the field of a recipe that `name` stands for in other programs, or here; or None."""
    name = name.lower().replace('-', '_')
    return name if name in FIELDS else SYNONYMS.get(name)


def _field(name: str) -> str:
    """Return the field that has the name, or an earlier name. Raises UsageError, with a hint."""
    field = EARLIER_NAMES.get(name, name)
    if field in FIELDS:
        return field
    if field_meant(field):
        raise UsageError(f'unknown recipe field {shown(field)}; did you mean {field_meant(field)}?')
    raise unknown_name_error('recipe field', field, FIELDS)


def changes_from_flags(values: Any) -> List[str]:
    """Return what --set and the flags of the fields change: 'field=value'. Raises UsageError."""
    texts = list(values.set)
    for name in (field.name for field in FLAG_FIELDS):
        text = getattr(values, name, None)
        if text is not None:
            if name in _parse(values.set):
                raise UsageError(f'--{name} and --set {name} set the same field: leave one out')
            texts.append(f'{name}={text}')
    return texts


def base_from_flags(values: Any) -> Recipe:
    """Return the recipe that the flags `values` change. Raises UserError."""
    if values.model not in models.ALL:
        raise unknown_name_error('model', values.model, models.ALL)
    return find_recipe(values.recipe or catalog.default_recipe(values.model))


def recipe_from_flags(values: Any) -> Recipe:
    """Return the recipe that the flags `values` of train.py choose. Raises UserError."""
    return with_changes(base_from_flags(values), changes_from_flags(values))


def describe_changes(recipe: Recipe, base: Optional[Recipe] = None) -> str:
    """Return `recipe`'s name and its `differences`, each with the value that it replaces."""
    base = catalog.RECIPES.get(recipe.name, base)
    texts = [recipe.name]
    for change in differences(recipe, base):
        value = base.to_json()[change.partition('=')[0]]  # type: ignore[union-attr]
        texts.append(f'{change} (not {to_text(value)})')
    return ', '.join(texts)


def split_setting(change: str) -> Tuple[str, str]:
    """Return field and value of 'field=value', also of an earlier name. Raises UsageError."""
    name, equals, text = change.partition('=')
    if not equals:
        raise UsageError(f'--set needs field=value, not {change!r}')
    return _field(name), text


def _parse(changes: Sequence[str]) -> Dict[str, Any]:
    """Return {field: value} of the `changes`, as in the json of a recipe."""
    values = {}
    for change in changes:
        field, text = split_setting(change)
        kind = FIELDS[field]
        try:
            values[field] = PARSERS[kind](text)
        except ValueError:
            raise UsageError(f'{field}: {text!r} is not a '
                             f"{'whole ' if kind is int else ''}number") from None
    return values


def _set_decay_mode(value: Dict[str, Any], mode: str) -> None:
    """Set the earlier field decay_mode of a recipe's json."""
    if schema.check(mode, str, 'decay_mode') not in DECAY_MODES:
        raise unknown_name_error('decay_mode', mode, DECAY_MODES)
    setting = '' if mode == 'layers' else rf' {DECAY_MODES[mode]}=\1'
    value.update(
        decay_mode=mode, weight_decay=max(value.pop(field) for field in DECAY_FIELDS),
        param_groups=[re.sub(r' \w*weight_decay=(\S+)', setting, group)
                      for group in value['param_groups']])


def with_supported_precision(recipe: Recipe) -> Recipe:
    """Return `recipe` as this engine and processor can train it; print a note if it changes."""
    if recipe.compute_dtype == 'float32' or engines.has_bfloat16(engines.installed()):
        return recipe
    print(f'note: training in float32, because {recipe.compute_dtype} needs tf2 and a CPU with '
          'AVX512_BF16 or AMX', flush=True)
    return dataclasses.replace(recipe, compute_dtype='float32')

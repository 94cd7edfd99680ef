"""Overrides."""

import dataclasses
import operator
import re

from permafrost import runtime
from permafrost.errors import UsageError, unknown_name_error
from permafrost.recipes import catalog, durations, param_groups, schedules
from permafrost.recipes.recipe import Recipe
PRECISIONS = ('float32', 'bfloat16')


def _rescaled_groups(rules, by):
    """`rules` with each `until` `by` times as late."""
    return tuple(re.sub(r'(?<= until=)\S+', lambda epoch: '%g' % (param_groups._quotient(epoch[0]) * by), rule)
                 for rule in rules)


def get_recipe(name, changes=()):
    """The recipe `name` with `changes` ('field=value' strings), checked.

    A recipe made longer or shorter keeps the shape of its schedule, and does all else that it does
    at an epoch as much later or earlier, except what is changed too.
    Raises:
      UsageError: an unknown recipe or field, or a value that cannot be meant.
    """
    if name not in catalog.RECIPES:
        raise unknown_name_error('recipe', name, catalog.RECIPES)
    old, changed = catalog.RECIPES[name], dict(map(_change, changes))
    new = _check(dataclasses.replace(old, **changed))
    if 'images' in changed and new.epochs:
        raise UsageError('%s is as long as its %g epochs: --set epochs=... makes it longer or '
                         'shorter, not images' % (name, new.epochs))
    if 'epochs' in changed and not new.epochs and 'images' not in changed:
        raise UsageError('--set epochs=0 leaves the length to images: add --set images=...')
    by = durations._num_epochs(new) / durations._num_epochs(old)
    if by == 1:
        return new
    later = {'schedule': schedules.rescaled, 'average_epochs': operator.mul, 'rules': _rescaled_groups}
    return dataclasses.replace(new, **{
        field: stretched(getattr(new, field), by) for field, stretched in later.items()
        if field not in changed})


def _change(change):
    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    field, equals, value = change.partition('=')
    if not equals:
        raise UsageError('--set takes field=value, not %r' % change)
    if field not in fields or field in ('name', 'about'):
        raise unknown_name_error('recipe field', field, set(fields) - {'name', 'about'})
    kind = fields[field].type
    try:
        if kind in (int, float):
            return field, kind(value)
        return field, value if kind is str else tuple(v for v in value.split(',') if v.strip())
    except ValueError:
        raise UsageError('--set %s: %r is not %s' % (
            field, value, {int: 'a whole number', float: 'a number'}[kind]))


def _check(value):
    for field in ('image_size', 'batch_size', 'images', 'average_every'):
        if getattr(value, field) < 1:
            raise UsageError('%s must be at least 1, not %d' % (field, getattr(value, field)))
    for field in ('learning_rate', 'weight_decay', 'epochs', 'average_epochs'):
        if not 0 <= getattr(value, field) < float('inf'):
            raise UsageError('%s must be 0 or more, not %g' % (field, getattr(value, field)))
    for field in ('average_decay', 'momentum', 'label_smoothing'):
        if not 0 <= getattr(value, field) < 1:
            raise UsageError('%s must be in [0, 1), not %g' % (field, getattr(value, field)))
    if value.precision not in PRECISIONS:
        raise unknown_name_error('precision', value.precision, PRECISIONS)
    for line in value.rules:
        param_groups._parse(line)
    return value


def with_supported_precision(value):
    """The recipe `value` as this engine and processor can train it, which is said if it differs."""
    if value.precision == 'float32' or runtime.has_bfloat16(runtime.installed()):
        return value
    print('note: precision float32, not %s: that takes tf2 and a processor with AVX512_BF16 or '
          'AMX' % value.precision, flush=True)
    return dataclasses.replace(value, precision='float32')

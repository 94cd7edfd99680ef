"""Parameter groups: the learning rate and the weight decay of each variable."""

import contextlib
import dataclasses
import math
import re
from typing import TYPE_CHECKING, Optional

from permafrost.errors import UsageError, shown
from permafrost.recipes import setting_text

if TYPE_CHECKING:
    from permafrost.recipes.recipe import Recipe

# The fields that a group replaces.
RATES = ('learning_rate', 'weight_decay', 'decoupled_weight_decay')


# A pattern from a file must not take years to search for.
_REPEATS, _REPEATS_A_GROUP = re.compile(r'(?<!\()[*+?{]'), re.compile(r'\)[*+?{]')


def is_safe_pattern(pattern: str) -> bool:
    """Return whether `pattern` is a regular expression that is fast to search for."""
    with contextlib.suppress(re.error, OverflowError):
        re.compile(pattern)
        return not _REPEATS_A_GROUP.search(pattern) and len(_REPEATS.findall(pattern)) <= 4
    return False


@dataclasses.dataclass(frozen=True)
class ParamGroup:
    """Settings of the variables whose names match a pattern; None: the recipe's setting."""
    pattern: str  # a regular expression, searched for in the variable's name
    learning_rate: Optional[float] = None
    weight_decay: Optional[float] = None
    decoupled_weight_decay: Optional[float] = None
    freeze_epoch: float = math.inf  # the variables are trained up to this epoch

    def __post_init__(self) -> None:
        # 14 digits: a number worked out as a product equals the one that the catalog states.
        for name, number in self.settings().items():
            object.__setattr__(self, name, float(f'{number:.14g}'))

    def settings(self) -> dict:
        """Return {field: number} of the settings that differ from the recipe's."""
        return {name: value for name, value in vars(self).items()
                if name != 'pattern' and value not in (None, math.inf)}

    def scaled(self, **ratios: float) -> 'ParamGroup':
        """Return the group with its settings multiplied by `ratios`, {field: ratio}."""
        return dataclasses.replace(self, **{
            name: value * ratios.get(name, 1.) for name, value in self.settings().items()})

    def __str__(self) -> str:
        return ' '.join([self.pattern] + [
            f'{name}={setting_text.to_text(value)}' for name, value in self.settings().items()])


def from_text(text: str, recipe: 'Recipe') -> ParamGroup:
    """Return the group that `text` writes: a pattern, then `field=number`.

    `rate`, `decay` and `until` are the fields of earlier versions: `rate` and `decay` multiply
    the learning rate and the weight decay of `recipe`, `until` is freeze_epoch. Raises UsageError.
    """
    decay = 'decoupled_weight_decay' if recipe.decoupled_weight_decay else 'weight_decay'
    earlier = {'rate': ('learning_rate', recipe.learning_rate),
               'decay': (decay, getattr(recipe, decay)), 'until': ('freeze_epoch', 1.)}
    pattern, *words = text.split() or ['']
    settings = {}
    try:
        re.compile(pattern)
        if len(pattern) > 200 or not is_safe_pattern(pattern):
            raise ValueError('its pattern is longer than 200 characters, or repeats too much')
        for word in words:
            name, equals, number = word.partition('=')
            name, unit = earlier.get(name, (name, 1.))
            if not equals or name not in ParamGroup.__dataclass_fields__ or name == 'pattern':
                raise ValueError(f'{shown(word)} is not field=number')
            settings[name] = unit * setting_text.parse_number(number)
            if not 0 <= settings[name] <= 1e9:
                raise ValueError(f'{shown(word)} is not from 0 to 1e9')
    except (OverflowError, ValueError, re.error) as error:
        raise UsageError(
            f'wrong parameter group {shown(text)} ({error}). Write it as '
            "'beta learning_rate=0.5 weight_decay=1e-05 freeze_epoch=3' or "
            "'beta learning_rate=0.5 weight_decay=0'") from error
    return ParamGroup(pattern, **settings)


def param_group_for(recipe: 'Recipe', name: str) -> ParamGroup:
    """Return the settings of variable `name`, all stated: those of the last group that matches."""
    groups = [group for group in recipe.param_groups if re.search(group.pattern, name)]
    group = groups[-1] if groups else ParamGroup('')
    defaults = {field: getattr(recipe, field) for field in RATES}
    return dataclasses.replace(group, **{**defaults, **group.settings()})

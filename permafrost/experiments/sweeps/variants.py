"""Variants: the settings of a study's runs; one at a time, all combinations, or drawn."""

import itertools
import math
import random
import typing
from typing import Dict, List, NamedTuple, Optional

from permafrost.config import Config
from permafrost.errors import UsageError
from permafrost.experiments.sweeps.study import Settings, Study
from permafrost.recipes import catalog, overrides, setting_text

BASELINE = 'baseline'
MAX_VARIANTS = 10000


class Variant(NamedTuple):
    """Settings that differ from the base of the study; none: the baseline."""
    name: str
    settings: Settings


def variants_of(study: Study) -> List[Variant]:
    """Return the variants of a study that is not a search; the baseline is the first, if it is one.

    Raises UsageError.
    """
    if study.method == 'random':
        return _random(study)
    for name, values in study.vary.items():
        if any(parse_range(name, value) for value in values):
            raise UsageError(f'{name}: a range needs --random or --search; list the values instead')
    if study.method == 'grid':
        size = 1
        for values in study.vary.values():
            size *= len(values)
        if size > MAX_VARIANTS:
            raise UsageError(f'the grid has {size} variants, more than {MAX_VARIANTS}: use '
                             '--random or --search')
        settings = [dict(zip(study.vary, values))
                    for values in itertools.product(*study.vary.values())]
    else:
        settings = [{}, *({name: value} for name, values in study.vary.items()
                          for value in values)]
    named = [Variant(name, each) for name, each in study.variants.items()]
    return [with_same_recipe(study, variant) for variant in
            [*(Variant(name_of(each), each) for each in settings), *named]]


def name_of(settings: Settings) -> str:
    """Return the name of a variant with `settings`."""
    return ','.join(f'{name}={value}' for name, value in settings.items()) or BASELINE


def with_same_recipe(study: Study, variant: Variant) -> Variant:
    """Return the variant with the base's recipe: another model alone would change it too."""
    settings: Dict[str, str] = {**study.base, **variant.settings}
    base_model = study.base.get('model', 'tuto')
    if settings.get('model', base_model) == base_model or 'recipe' in settings:
        return variant
    recipe = catalog.default_recipe(base_model)
    return variant._replace(settings={**variant.settings, 'recipe': recipe})


def draw(study: Study, source: random.Random) -> Settings:
    """Return settings drawn from the values and ranges of a study."""
    settings = {}
    for name, values in study.vary.items():
        # random() alone gives the same numbers with every Python
        value = values[int(source.random() * len(values))]
        number_range = parse_range(name, value)
        settings[name] = number_range.at(source.random()) if number_range else value
    return settings


def _random(study: Study) -> List[Variant]:
    """Return `study.count` different variants. A larger count begins with the same ones."""
    source = random.Random(0)
    found: Dict[str, Variant] = {}
    combinations: float = 1
    for name, values in study.vary.items():
        has_range = any(parse_range(name, value) for value in values)
        combinations *= math.inf if has_range else len(set(values))
    for _ in range(100 * study.count):
        variant = with_same_recipe(study, Variant('', draw(study, source)))
        name = name_of(variant.settings)
        found.setdefault(name, variant._replace(name=name))
        if len(found) == min(study.count, combinations):
            break
    if len(found) < study.count:
        print(f'note: the values of the study allow only {len(found)} of {study.count} '
              'combinations', flush=True)
    return list(found.values())


class Range(NamedTuple):
    """Numbers from `low` to `high`; `is_log`: their logarithms are drawn evenly."""
    low: float
    high: float
    is_log: bool
    is_whole: bool

    def at(self, share: float) -> str:
        """Return the number at `share` (0 to 1) of the range, with four digits if they are in it.
        """
        # Whole numbers are rounded down, so that the ends are as likely as the others.
        end = self.high + 1 if self.is_whole else self.high
        low, high = (math.log(each) if self.is_log else each for each in (self.low, end))
        number = low + share * (high - low)
        number = math.exp(number) if self.is_log else number
        if self.is_whole:
            return str(min(int(number), int(self.high)))
        rounded = f'{number:.4g}'
        return rounded if self.low <= float(rounded) <= self.high else repr(number)


def parse_range(setting: str, text: str) -> Optional[Range]:
    """Return the range that `text` writes for a setting; None if it is a value. Raises UsageError.
    """
    is_log = text.startswith('log:')
    try:
        limits = text[len('log:'):] if is_log else text
        low, high = map(setting_text.parse_number, limits.split('..'))
    except ValueError:
        return None  # one value; it may be a path such as ../images
    if not low < high or (is_log and low <= 0):
        raise UsageError(f'{setting}={text}: a range is LOW..HIGH; that of log:LOW..HIGH begins '
                         'above 0')
    kind = overrides.FIELDS.get(setting, typing.get_type_hints(Config).get(setting))
    return Range(low, high, is_log, kind is not float)

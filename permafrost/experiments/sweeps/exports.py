"""Exports: a variant of a study may be another file of a training, such as its int8.tflite.

Such a variant has the setting `export`. It has a training of its own only if no variant before it
trains the same.
"""

import contextlib
import dataclasses
import hashlib
import os
from typing import Any, Dict, Hashable, List, Mapping, Optional, Sequence, Tuple

from permafrost import files, schema
from permafrost.config import Config
from permafrost.errors import UserError, unknown_name_error
from permafrost.export.formats import FORMATS, Target
from permafrost.recipes import catalog, overrides
from permafrost.recipes.setting_text import parse_number
from permafrost.schema import limited

SETTING = 'export'
TARGETS: Dict[str, Target] = {  # by the suffix of the file
    target.path('x.pb')[len('x.'):]: target for target in (
        Target(name, quantize) for name, each in FORMATS.items() if each.runtime
        for quantize in each.quantize)}


@dataclasses.dataclass
class OriginalGraph:
    """The frozen graph that a file was made from."""
    sha256: str = ''


@dataclasses.dataclass
class ExportFile:
    """The fields of the json of an exported file that a comparison shows."""
    source: OriginalGraph
    accuracy: Optional[float] = limited(minimum=0, maximum=1)  # None: there are no test images
    images: int = limited(minimum=0)
    bytes: int = limited(minimum=1)
    dataset_identity: str = ''  # of the test images


def check(export: str) -> None:
    """Raise UsageError unless `export` is the suffix of a file that label_image runs."""
    if export not in TARGETS:
        raise unknown_name_error(SETTING, export, TARGETS)


def has_any(study: Any) -> bool:
    """Return whether any variant of a study, a study.Study, is an export."""
    return SETTING in study.vary or any(SETTING in each for each in study.variants.values())


def trained(settings: Mapping[str, str]) -> Dict[str, str]:
    """Return the `settings` that decide what is trained: all but the export."""
    return {name: value for name, value in settings.items() if name != SETTING}


def of_trainings(base: Mapping[str, str], variants: Sequence[Any]
                 ) -> Dict[str, List[Tuple[str, str]]]:
    """Return {variant that is trained: [(variant, export), ...]}, each list with itself.

    `base` and `variants` are those of a study, variants.Variant; the export of a .pb is ''.
    """
    first: Dict[Hashable, str] = {}
    found: Dict[str, List[Tuple[str, str]]] = {}
    for variant in variants:
        key = _training({**base, **variant.settings})
        name = first.setdefault(key, variant.name)
        found.setdefault(name, []).append((variant.name, variant.settings.get(SETTING, '')))
    return found


def _training(settings: Mapping[str, str]) -> Hashable:
    """Return a key that settings share if they train the same, as plan.plan tells by their Config.

    That needs the flags and the dataset; this, the recipe alone. A setting that is no field of it
    counts as a number or as text, and is left out where it is the default.
    """
    settings = trained({'model': 'tuto', **settings})
    fields = [f'{name}={text}' for name, text in settings.items() if name in overrides.FIELDS]
    try:
        recipe = overrides.get_recipe(
            settings.get('recipe') or catalog.default_recipe(settings['model']), fields)
    except UserError:  # such as a file that is gone
        return frozenset(settings.items())
    others = {name: _value(text) for name, text in settings.items()
              if name not in overrides.FIELDS and name != 'recipe'}
    return str(recipe.to_json()), frozenset(
        item for item in others.items() if item[1] != getattr(Config, item[0], None))


def _value(text: str) -> Hashable:
    with contextlib.suppress(ValueError):
        return parse_number(text)
    return {'true': True, 'false': False}.get(text, text)


def path_of(frozen: str, export: str) -> str:
    """Return the path of the file `export` next to the frozen graph at `frozen`; '': itself."""
    return TARGETS[export].path(frozen) if export else frozen


def read(frozen: str, export: str) -> Optional[Dict[str, Any]]:
    """Return the fields of ExportFile; None if the file is missing, or of an earlier graph."""
    path = path_of(frozen, export)
    description = schema.read_if_valid(path + '.json', ExportFile, None)
    with contextlib.suppress(OSError), files.open_regular(frozen) as stream:
        checksum = hashlib.sha256(stream.read()).hexdigest()
        if description and os.path.isfile(path) and description['source'].get('sha256') == checksum:
            return description
    return None

"""Schemas: check json values, which may be damaged or hostile, against the hints of a dataclass.

A hint gives the type; `limited` gives a field's range, names or length. Libraries need a second
declaration of each class, and other versions for Python 3.7 than for 3.13.
"""

import collections.abc
import dataclasses
import functools
import math
import sys
import typing
from typing import Any, Callable, Collection, Dict, Optional, Tuple

from permafrost import files
from permafrost.errors import UsageError, UserError, printable, shown, unknown_name_error

MAX_NAME = 60  # characters that are printed
NOUNS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text',
         list: 'a list', dict: 'an object'}
IN_JSON = {'None': 'null', 'True': 'true', 'False': 'false'}
RESTORE = 'restore it, or remove it'  # advice about a damaged file
CONTAINERS: Dict[Any, type] = {tuple: list, collections.abc.Sequence: list,
                               collections.abc.Mapping: dict}


@dataclasses.dataclass(frozen=True)
class Limits:
    """The values that a field may have; those of a list's or an object's items, but for `count`."""
    minimum: float = -1e18
    maximum: float = 1e18
    below: float = math.inf
    names: Collection[str] = ()  # what text may be; (): anything
    count: Tuple[int, int] = (0, 1000000)  # characters of text, or items
    test: Optional[Callable[[Any], Any]] = None  # of text; `meaning` says what is right
    meaning: str = ''


ANYTHING = Limits()


def limited(default: Any = dataclasses.MISSING, hint: Any = None, earlier: Optional[str] = None,
            text: str = '', **limits: Any) -> Any:
    """Return a field of a dataclass with `limits`, those of Limits.

    `default`: the field may be missing; it is not filled in (see check).
    `hint` is the type in json where it is another one; `earlier` is a name of the field that files
    of earlier versions have; `text` is what --help says of it.
    """
    return dataclasses.field(default=default, metadata={
        'hint': hint, 'earlier': earlier, 'text': text, 'limits': Limits(**limits)})


def limits_of(field: dataclasses.Field) -> Limits:
    """Return the limits of a field of a dataclass."""
    return field.metadata.get('limits', ANYTHING)


def read(path: str, hint: Any, advice: str) -> Any:
    """Return the value of a json file, checked against `hint`: see check.

    Raises OSError, or UserError in a line that ends with `advice`.
    """
    try:
        return check(files.read_json(path), hint)
    except (UsageError, ValueError) as error:
        raise UserError(f'{printable(path)} is damaged ({error}): {advice}') from None


def read_if_valid(path: str, hint: Any, default: Any) -> Any:
    """Return what `read` does, or `default`: for a damaged file, after a note."""
    try:
        return read(path, hint, 'continuing without it')
    except FileNotFoundError:
        return default
    except OSError as error:
        _note(f'{printable(path)}: {error.strerror}: continuing without it')
    except UserError as error:
        _note(str(error))
    return default


@functools.lru_cache(maxsize=100)
def _note(text: str) -> None:
    # Once: status.json is read every few seconds. On stderr: stdout may be for an answer.
    print('note: ' + text, file=sys.stderr, flush=True)


def check(value: Any, hint: Any, where: str = '', limits: Limits = ANYTHING,
          closed: bool = False) -> Any:
    """Return `value`, from json, if it is of the type `hint`; else raise UsageError in a line.

    A `hint` is a dataclass, bool, int, float, str, Any, or Optional, List, Tuple[X, ...] or Dict of
    one. Of an object only the fields of its class are returned; `closed`: others are refused.
    An object becomes a dict, not an instance of its class. A field with a default may be missing,
    and is then missing in the result.
    """
    origin: Any = getattr(hint, '__origin__', hint)
    arguments: Any = getattr(hint, '__args__', ())
    if hint is Any or (origin is typing.Union and value is None):
        return value
    if origin is typing.Union:
        return check(value, arguments[0], where, limits)
    if dataclasses.is_dataclass(hint):
        return _check_fields(value, hint, where, closed)
    kind = CONTAINERS.get(origin, origin)
    if limits.names and isinstance(value, str) and value not in limits.names:
        raise unknown_name_error(where, value, limits.names)
    if not _is_allowed(value, kind, limits):
        meaning = '' if kind in (list, dict) else limits.meaning
        what = meaning or NOUNS[kind] + _range(kind, limits)
        text = shown(value)
        raise UsageError(f"{where or 'it'} must be {what}, not {IN_JSON.get(text, text)}")
    items = dataclasses.replace(limits, count=ANYTHING.count)
    if kind is list:
        return [check(item, arguments[0], f'{where}[{i}]', items) for i, item in enumerate(value)]
    if kind is dict:
        return {check(name, str, where): check(item, arguments[1], join(where, name), items)
                for name, item in value.items()}
    return value


def _check_fields(value: Any, cls: Any, where: str, closed: bool) -> Dict[str, Any]:
    fields, checked = check(value, Dict[str, Any], where), {}
    for field in filter(lambda field: field.compare, dataclasses.fields(cls)):
        earlier = field.metadata.get('earlier')
        name = earlier if earlier in fields and field.name not in fields else field.name
        if name in fields:
            checked[field.name] = check(
                fields.pop(name), field.metadata.get('hint') or _hints(cls)[field.name],
                join(where, name), limits_of(field))
        elif field.default is field.default_factory is dataclasses.MISSING:  # type: ignore[misc]
            raise UsageError(f'{join(where, name)} is missing')
    if closed and fields:
        raise UsageError(f'{join(where, min(fields))} is a field that this version does not know')
    return checked


def join(where: str, name: str) -> str:
    """Return the place of field `name` of the object at `where`, to be printed."""
    return (where and where + '.') + printable(name[:MAX_NAME])


_hints = functools.lru_cache(maxsize=None)(typing.get_type_hints)


def _is_allowed(value: Any, kind: type, limits: Limits) -> bool:
    kinds = (int, float) if kind is float else (kind,)
    if isinstance(value, bool) != (kind is bool) or type(value) not in kinds:
        return False
    if kind in (int, float):
        return limits.minimum <= value <= limits.maximum and value < limits.below  # NaN is not
    if kind is str and not _is_text(value):
        return False
    if kind is bool:
        return True
    if not limits.count[0] <= len(value) <= limits.count[1]:
        return False
    return kind is not str or not limits.test or bool(limits.test(value))


def is_utf8(text: str) -> bool:
    """Return whether `text` can be written as UTF-8, as names in a graph must."""
    return text == text.encode('utf-8', 'ignore').decode()


def _is_text(value: str) -> bool:
    try:
        return b'\0' not in value.encode('utf-8', 'surrogateescape')  # paths may hold any bytes
    except UnicodeEncodeError:
        return False


def _range(kind: type, limits: Limits) -> str:
    if kind in (int, float):
        if limits.maximum == ANYTHING.maximum and limits.below == math.inf:
            return f', {limits.minimum:.15g} or more' if limits.minimum > ANYTHING.minimum else ''
        end = f'below {limits.below:g}' if limits.below < math.inf else f'{limits.maximum:.15g}'
        return f' from {limits.minimum:.15g} to {end}'
    if kind is bool:
        return ''
    fewest, most = limits.count
    return f" of {fewest} to {most} {'characters' if kind is str else 'items'}"

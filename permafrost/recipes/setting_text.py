"""Values of settings as flags and --set write them."""

import contextlib
import math
from typing import Any

from permafrost.errors import shown


def parse_number(text: str) -> float:
    """Return the number that `text` writes, also as a quotient, `1/64`. Raises ValueError."""
    numerator, slash, denominator = text.partition('/')
    try:
        number = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f'{shown(text)} is not a number')
    return number


def whole_number(text: str) -> int:
    """Return the number that `text` writes, as 10000, 1e4 or 0x2710. Raises ValueError."""
    for parse in (int, float, lambda text: int(text, 0)):
        with contextlib.suppress(ValueError):
            number = parse(text)
            if number == number // 1:
                return int(number)
    raise ValueError('not a whole number')


def to_text(value: Any) -> str:
    """Return the text of a value: `none` for nothing, and commas between those of a list.

    A number has the shortest text that parse_number reads back to it.
    """
    if isinstance(value, (list, tuple)):
        return ','.join(map(str, value)) or 'none'
    if isinstance(value, float):
        short = f'{value:g}'
        return short if float(short) == value else repr(float(value))
    return 'none' if value in (None, '') else str(value)

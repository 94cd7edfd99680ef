"""Numbers as --set and config.json write them."""

import math

from permafrost.errors import shown


def parse(text: str) -> float:
    """Return the number that `text` writes, also as a quotient, `1/64`. Raises ValueError."""
    numerator, slash, denominator = text.partition('/')
    try:
        number = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f'{shown(text)} is not a number')
    return number


def to_text(number: float) -> str:
    """Return the shortest text that `parse` reads back to the same number."""
    short = f'{number:g}'
    return short if float(short) == number else repr(float(number))

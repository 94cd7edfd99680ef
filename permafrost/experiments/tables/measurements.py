"""Measurements: the numbers in results/benchmark-*.json, and how tables write them."""

import dataclasses
import os
from typing import Any, Dict, Optional

from permafrost import schema
from permafrost.experiments import markdown
from permafrost.schema import limited

NOT_RECORDED = ['Not recorded yet.']

ENGINES = {'tf1': '`tf1`', 'tf1-mkl': '`tf1-mkl`', 'tf2': '`tf2`'}

Measurement = Dict[str, Any]  # of the fields of MeasurementJson


@dataclasses.dataclass
class MeasurementJson:
    """A measured number; `bound` and `met` where it has a target."""
    median: float
    unit: str = ''
    target: float = 0.
    bound: str = limited('', names=('least', 'most'))
    met: bool = False


def read(folder: str, name: str, kind: type) -> Dict[str, Any]:
    """Return the fields of a file, or {} if there is none. Raises UserError if it is damaged."""
    try:
        return schema.read(os.path.join(folder, name), kind, schema.RESTORE)
    except FileNotFoundError:
        return {}


def bound(measured: Measurement) -> str:
    """Return the target of a measurement, such as least 0.95."""
    return f"{measured.get('bound', 'least')} {measured['target']:,g}"


def bold_if_least(times: Dict[str, float], name: str) -> str:
    """Return the time of `name`, in bold if it is the least of `times`."""
    text = short(times.get(name))
    return f'**{text}**' if name in times and times[name] == min(times.values()) else text


def judged(measured: Optional[Measurement]) -> str:
    """Return a measurement as text, and whether it misses its target."""
    if measured is None:
        return '–'
    median = measured['median']
    text = f'{median:,.0f}' if median >= 1000 else short(median)
    return text if measured.get('met', True) else text + ' (**not met**)'


def short(value: Optional[float]) -> str:
    """Return a number with three digits; None: a dash."""
    return '–' if value is None else markdown.three_digits(value)

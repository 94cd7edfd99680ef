"""Param groups."""

import re
from typing import NamedTuple

from permafrost.errors import UsageError

class ParamGroup(NamedTuple):
    """What differs for the variables whose names a pattern finds, as `beta rate=64 decay=1/64`."""
    rate: float = 1.  # multiplies the learning rate
    decay: float = 1.  # multiplies the weight decay
    until: float = float('inf')  # the epoch from which on it is trained no more


def param_group_for(value, name):
    """The Rule of the variable `name` in the recipe `value`: of the last pattern that it has."""
    found = ParamGroup()
    for line in value.rules:
        pattern, fields = _parse(line)
        found = ParamGroup(**fields) if re.search(pattern, name) else found
    return found


def _parse(line):
    """(pattern, {field: number}) of a rule. Raises UsageError where it is none."""
    pattern, *words = line.split()
    try:
        pairs = [word.split('=') for word in words]
        fields = {name: _quotient(number) for name, number in pairs}
        ParamGroup(**fields)
        re.compile(pattern)
    except (ValueError, TypeError, ZeroDivisionError, re.error) as error:
        raise UsageError('rule %r is not understood (%s): write it as %r, with any of %s' % (
            line, error, 'beta rate=64 decay=1/64', ', '.join(ParamGroup._fields)))
    return pattern, fields


def _quotient(text):
    number, _, by = text.partition('/')
    return float(number) / float(by or 1)

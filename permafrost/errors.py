"""Errors that a user can fix, each one line: what happened, where, what to do."""

import difflib
from typing import Iterable


class UserError(Exception):
    """A failure that the user can fix. The message is one line; the script exits with code 1."""
    exit_code = 1


class UsageError(UserError):
    """A wrong flag or argument; the script exits with code 2."""
    exit_code = 2


def unknown_name_error(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return a UsageError for an unknown `name` that lists the `known` ones and the closest."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f'; did you mean {close[0]}?' if close else ''
    return UsageError(f"unknown {kind} {name!r}{hint} (choose from: {', '.join(known)})")


def one_line(error: object, max_length: int = 200) -> str:
    """Return the message of an exception on one line of at most `max_length` characters."""
    return ' '.join(str(error).split())[:max_length]

"""Errors that a user can fix, each one line: what happened, where, what to do."""

import difflib
import re
import reprlib
from typing import Iterable

OUT_OF_MEMORY = 'out of memory: stop other processes, or lower the batch size'


class UserError(Exception):
    """A failure that the user can fix. The message is one line; the script exits with code 1."""
    exit_code = 1


class UsageError(UserError):
    """A wrong flag or argument; the script exits with code 2."""
    exit_code = 2


def unknown_name_error(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return a UsageError for an unknown `name` that lists the `known` ones and the closest.

    The closest are those that begin with `name`, or else the one that is spelt most alike.
    """
    known = sorted(known)
    close = ([each for each in known if name and each.startswith(name)]
             or difflib.get_close_matches(name, known, 1, 0.5))
    hint = f"; did you mean {' or '.join(close)}?" if close else ''
    return UsageError(f"unknown {kind} {shown(name)}{hint} (choose from: {', '.join(known)})")


def one_line(error: object, max_length: int = 200) -> str:
    """Return the message of an exception on one line of at most `max_length` characters.

    Of an error of TensorFlow, only the reason: not the operation's name and the stack traces.
    """
    text = re.sub(r"\AGraph execution error:.*?\nNode: '[^']*'\n", '', str(error), flags=re.DOTALL)
    text = re.sub(r'\A\d+ root error\(s\) found\.\s*\(0\)[^:]*:', '', text).split('\n\t [[')[0]
    return ' '.join(text.split())[:max_length]


def shown(value: object) -> str:
    """Return `value`, from a file or a command line, for a message: quoted, escaped, shortened."""
    return printable(_SHORT.repr(value))


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60  # characters


def printable(text: str) -> str:
    """Return `text`, from a file or a command line, with what is not printable escaped.

    Escape sequences of terminals, line breaks and bytes that are not UTF-8 become \\x1b, \\n, ...
    """
    return ''.join(each if each.isprintable() else each.encode('unicode_escape').decode()
                   for each in text)


def pluralize(number: int, noun: str) -> str:
    """Return '1 step', '2 steps' and such."""
    return f"{number} {noun}{'s' * (number != 1)}"

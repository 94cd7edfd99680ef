"""Markdown: tables, and the generated blocks of a page."""

from typing import Iterable, List, Sequence

from permafrost import files
from permafrost.errors import UserError

BEGIN = '<!-- {}: made by `make readme`, do not edit -->'
END = '<!-- end of {} -->'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> List[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in [header, ['---'] * len(header), *rows]]


def replace_block(text: str, name: str, lines: Sequence[str]) -> str:
    """Return `text` with `lines` between the two markers of the block `name`.

    Raises UserError if `text` does not have both markers once.
    """
    begin, end = BEGIN.format(name), END.format(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(f'the text must have the lines {begin!r} and {end!r} once')
    before, rest = text.split(begin)
    return before + '\n'.join([begin, '', *lines, '', end]) + rest.split(end)[1]


def update_block(path: str, name: str, lines: Sequence[str], check: bool = False) -> None:
    """Replace the block `name` of the file `path`, or, with `check`, only compare it.

    Raises UserError if `check` finds other lines.
    """
    with open(path) as stream:
        text = stream.read()
    updated = replace_block(text, name, lines)
    if check and updated != text:
        raise UserError(f'{path} is stale: run make readme')
    if updated != text:
        files.write_atomically(path, updated)
    print(f"{path}, {name}: {'up to date' if updated == text else 'updated'}")

"""Tables, in Markdown or for a terminal, and the generated blocks of a page."""

import re
from typing import Iterable, List, Optional, Sequence

from permafrost import files
from permafrost.errors import UserError, printable

BEGIN = '<!-- {}: made by `make readme`, do not edit -->'
END = '<!-- end of {} -->'


def escape(text: str) -> str:
    """Return `text`, from a file, so that a page shows it as it is: no HTML, no link, no table."""
    special = r'[\\`*\[\]<>|&~#@$]|:(?=//)|(?<=www)\.'
    return re.sub(special, lambda match: f'&#{ord(match.group())};', printable(text))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> List[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in [header, ['---'] * len(header), *rows]]


def aligned(rows: Sequence[Sequence[str]], numbers: int = 0) -> List[str]:
    """Return a line for each row, for a terminal; the last `numbers` columns are to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ['  '.join(cell.ljust(width) if column < len(widths) - numbers else cell.rjust(width)
                      for column, (cell, width) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def percent(mean: float, std: Optional[float] = None) -> str:
    """Return an accuracy in percent, with its standard deviation over seeds unless that is None."""
    return f'{100 * mean:.2f}' + (f' ± {100 * std:.2f}' if std is not None else '')


def three_digits(value: float) -> str:
    """Return a number of 0 or more with three digits, or with all that are before the point."""
    return f'{value:.0f}' if value >= 99.95 else f'{value:#.3g}'


def picture(path: str, alt: str) -> List[str]:
    """Return the lines that show <path>-light.svg or <path>-dark.svg, by the reader's theme.

    Two pictures fit side by side.
    """
    return ['<picture>',
            f'  <source media="(prefers-color-scheme: dark)" srcset="{path}-dark.svg">',
            f'  <img src="{path}-light.svg" width="49%"',
            f'    alt="{alt}">', '</picture>']


def update_block(path: str, name: str, lines: Sequence[str], check: bool = False) -> None:
    """Replace the block `name` of the file `path`; with `check`, raise UserError instead."""
    with open(path, encoding='utf-8') as stream:
        text = stream.read()
    begin, end = BEGIN.format(name), END.format(name)
    if text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(f'{path} must have the lines {begin!r} and {end!r} once')
    before, rest = text.split(begin)
    updated = before + '\n'.join([begin, '', *lines, '', end]) + rest.split(end)[1]
    if check and updated != text:
        raise UserError(f'{path} is stale: run make readme')
    if updated != text:
        files.write_atomically(path, updated)
    print(f"{path}, {name}: {'up to date' if updated == text else 'updated'}")

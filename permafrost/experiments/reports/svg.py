"""Figures as SVG text: colours of a theme, hover texts, the same bytes for the same data."""

import contextlib
import html
import io
import os
import re
import warnings
from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence, Tuple

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from permafrost import files
from permafrost.errors import UserError, printable

WIDTH = 5.  # inches: 360 units, so that text stays legible on a phone
# Colours of the two themes, by name. Okabe and Ito's order, adapted to each background: neighbours
# differ in brightness too, for people who do not see all colours.
LIGHT = {'ink': '#1f2328', 'muted': '#59636e', 'grid': '#d8dee4', 'paper': '#ffffff',
         's0': '#0b62a8', 's1': '#c4570a', 's2': '#1a7f4b', 's3': '#a0468a', 's4': '#8a6d00',
         's5': '#2f93c9', 's6': '#b3261e', 's7': '#6e7781'}
DARK = {'ink': '#e6edf3', 'muted': '#a0aab5', 'grid': '#343b44', 'paper': '#0d1117',
        's0': '#58a6ff', 's1': '#ff9d5c', 's2': '#56d18b', 's3': '#e39ad2', 's4': '#e0c04a',
        's5': '#9fd8ff', 's6': '#ff7b72', 's7': '#b1bac4'}
SERIES = 8
LINES = ('solid', 'dashed', 'dotted')  # in matplotlib and in CSS
# Figures are drawn in placeholders, which no other colour of a figure equals.
_DRAWN = {name: f'#0101{number:02x}' for number, name in enumerate(LIGHT, 16)}
PAGE = {name: f'var(--{name})' for name in LIGHT}
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_STYLE = {
    'font.family': 'DejaVu Sans', 'font.size': 9, 'svg.fonttype': 'none',
    'text.color': _DRAWN['ink'], 'axes.labelcolor': _DRAWN['muted'], 'axes.axisbelow': True,
    'axes.edgecolor': _DRAWN['muted'], 'axes.spines.top': False, 'axes.spines.right': False,
    'axes.grid': True, 'grid.color': _DRAWN['grid'], 'xtick.color': _DRAWN['muted'],
    'ytick.color': _DRAWN['muted'], 'axes.formatter.useoffset': False, 'axes.facecolor': 'none',
    'axes.unicode_minus': True, 'lines.linewidth': 1.6}


def colour(name: str) -> str:
    """Return the colour `name`, one of LIGHT, for a figure that is then written by `text`."""
    return _DRAWN[name]


def series_style(number: int) -> Tuple[str, str]:
    """Return (name of the colour, matplotlib's line style) of series `number`."""
    return f's{number % SERIES}', LINES[number // SERIES % len(LINES)]


def figure(height: float = 3.) -> Tuple[Figure, Any]:
    """Return a figure of `height` inches, and its axes; draw inside `style`."""
    new = Figure(figsize=(WIDTH, height), constrained_layout=True)
    FigureCanvasAgg(new)  # measures text
    return new, new.add_subplot()


@contextlib.contextmanager
def style(name: str = '') -> Iterator[None]:
    """Context in which a figure is made and drawn; `name` keeps its ids apart from others'."""
    with warnings.catch_warnings(), matplotlib.rc_context({**_STYLE, 'svg.hashsalt': name}):
        warnings.simplefilter('ignore')  # the font lacks a glyph: the browser has another font
        yield


def label(name: str, length: int = 36) -> str:
    """Return `name`, which may come from a file, for a figure: no formulas, not too long."""
    name = printable(name)
    return (name if len(name) <= length else name[:length - 1] + '…').replace('$', r'\$')


def hover(artist: Any, tip: str) -> None:
    """Show `tip` when the pointer is on `artist`."""
    artist.set_gid('tip-' + printable(tip).encode().hex())


def text(drawn: Figure, name: str, title: str, colours: Mapping[str, str] = PAGE) -> str:
    """Return `drawn` as an <svg> element, to be embedded or written to a file.

    `name` keeps the ids of one page's figures apart; `title` describes the figure to those who do
    not see it.
    """
    stream = io.StringIO()
    with style(name):
        drawn.savefig(stream, format='svg', transparent=True,
                      metadata={'Date': None, 'Creator': None, 'Format': None, 'Type': None,
                                'Title': printable(title)})
    svg = stream.getvalue()[stream.getvalue().index('<svg'):]
    svg = re.sub(r'<metadata>.*?</metadata>', '', svg, flags=re.DOTALL)
    # It takes the width of its place; without a size of its own, also in <img>.
    svg = re.sub(r'<svg ([^>]*?)width="\S+"([^>]*)>', r'<svg role="img" \1\2>', svg, count=1)
    svg = re.sub(r'(<svg [^>]*?) height="\S+"', r'\1', svg, count=1)
    svg = re.sub(r'<g id="tip-(\w+)">', lambda match: '<g class="tip"><title>' + html.escape(
        bytes.fromhex(match.group(1)).decode()) + '</title>', svg)
    # Ids that nothing refers to would be there once for each figure of a page.
    svg = re.sub(r' id="[A-Za-z][\w.]*_\d+"', '', svg)
    svg = svg.replace("'DejaVu Sans'", _FONT)
    for colour_name, value in _DRAWN.items():
        svg = svg.replace(value, colours[colour_name])
    return svg


def update_pictures(path: str, data: Sequence[str], draw: Callable[[Mapping[str, str]], str],
                    check: bool = False) -> None:
    """Write <path>-light.svg and <path>-dark.svg unless they show `data`, in words.

    `draw(colours)` returns a figure as `text` does. With `check`, write nothing and raise UserError
    if a picture shows other data.
    """
    for theme, colours in (('light', LIGHT), ('dark', DARK)):
        name = f'{path}-{theme}.svg'
        if _data_of(name) == list(data):
            continue
        if check:
            raise UserError(f'{name} is stale: run make readme')
        begin, end, rest = draw(colours).partition('</title>')
        described = html.escape('\n'.join(data))
        files.make_folder(os.path.dirname(name))
        files.write_atomically(name, f'{begin}{end}<desc>{described}</desc>{rest}')
        print(f'{name}: drawn')


def _data_of(path: str) -> Optional[List[str]]:
    """Return the data of a picture that was drawn before; None if there is none."""
    try:
        with files.open_regular(path) as stream:
            content = stream.read().decode('utf-8', 'replace')
    except OSError:
        return None
    found = re.search('<desc>(.*?)</desc>', content, re.DOTALL)
    return html.unescape(found.group(1)).splitlines() if found else []

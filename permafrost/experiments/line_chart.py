"""A picture file with lines over one axis: the charts of train.py."""

import importlib.util
import io
import os
import warnings
from typing import Any

from permafrost.errors import UsageError, UserError, shown
from permafrost.flags import check_file

FORMATS = ('.svg', '.png')


def check_output(path: str) -> None:
    """Raise UsageError unless --output, `path`, can be written and is of one of FORMATS.

    Raises UserError without matplotlib, which draws it: before a training, not after it.
    """
    if importlib.util.find_spec('matplotlib') is None:
        raise UserError('charts need matplotlib: make setup installs it')
    if os.path.splitext(path)[1] not in FORMATS:
        raise UsageError(f'--output must end in {" or ".join(FORMATS)}, not {shown(path)}')
    check_file('output', path)


def axes(title: str, x_label: str, y_label: str) -> Any:
    """Return matplotlib's axes of a new chart."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow, and not always installed
    from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 4.5), dpi=120)
    FigureCanvasAgg(figure)
    new = figure.add_subplot()
    new.set_title(title.replace('$', r'\$'), fontsize=10)  # a formula is between two $
    new.set_xlabel(x_label)
    new.set_ylabel(y_label)
    new.grid(True, color='0.9')
    return new


def content(drawn: Any, path: str) -> bytes:
    """Return the chart with the axes `drawn` as a file in the format that `path` names."""
    stream: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the font lacks a character of the title
        drawn.figure.tight_layout()
        drawn.figure.savefig(stream, format=os.path.splitext(path)[1][1:])
    return stream.getvalue()

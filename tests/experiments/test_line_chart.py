"""Picture files with lines over one axis."""

import importlib.util
import warnings

import pytest

from permafrost.errors import UsageError, UserError
from permafrost.experiments import line_chart


@pytest.mark.parametrize('path, start', [('a.svg', b'<?xml'), ('a.png', b'\x89PNG')])
def test_a_chart_is_written_in_the_format_of_its_name(path, start):
    axes = line_chart.axes('$x & рецепт \U0001f600', 'epoch', 'rate')
    axes.plot([0, 1], [0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert line_chart.content(axes, path).startswith(start)


@pytest.mark.parametrize('path, message', [
    ('a.pdf', "^--output must end in .svg or .png, not 'a.pdf'$"),
    ('none/a.svg', 'none/a.svg: name a file, in a folder that exists')])
def test_another_output_is_refused(path, message):
    with pytest.raises(UsageError, match=message):
        line_chart.check_output(path)


def test_without_matplotlib_the_error_comes_before_a_training(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match='^charts need matplotlib: make setup installs it$'):
        line_chart.check_output('a.svg')

"""Self-contained HTML pages from the templates: one file that loads nothing."""

import base64
import functools
import hashlib
import os
from typing import Any

import jinja2

from permafrost.errors import printable
from permafrost.experiments.reports import svg

TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'templates')


def render(template: str, **values: Any) -> str:
    """Return the page that `template`, a file in templates/, makes of `values`.

    Text in `values` is escaped; charts.Chart.svg is markup of ours.
    """
    return _environment().get_template(template).render(
        light=svg.LIGHT, dark=svg.DARK, script=_read('page.js'), policy=_policy(), **values)


@functools.lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    # Text from files: a line break or an escape sequence in a name shows as \n, \x1b.
    environment.filters['printable'] = lambda value: printable(str(value))
    return environment


def _policy() -> str:
    """Return the policy that lets the browser run only page.js, and load nothing."""
    digest = base64.b64encode(hashlib.sha256(_read('page.js').encode()).digest()).decode()
    return (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")


@functools.lru_cache(maxsize=4)
def _read(name: str) -> str:
    with open(os.path.join(TEMPLATES, name), encoding='utf-8') as stream:
        return stream.read()

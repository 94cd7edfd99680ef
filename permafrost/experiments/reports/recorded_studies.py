"""docs/experiments.md: the studies in results/studies/*.json, each a table and two charts."""

import glob
import os
from typing import Any, Dict, Iterator, List, Tuple

from permafrost import schema
from permafrost.experiments import markdown
from permafrost.experiments.comparison import formats
from permafrost.experiments.comparison.table import Comparison, Curve, Difference, Interval, Row
from permafrost.experiments.reports import charts, svg
from permafrost.recipes import catalog


def read(path: str) -> Comparison:
    """Return the comparison that compare.py --json wrote. Raises UserError if it is damaged."""
    value = schema.read(path, Comparison, schema.RESTORE)
    return _built(Comparison, dict(value, rows=[
        _built(Row, dict(row, interval=_interval(row), difference=_difference(row),
                         curves=[_built(Curve, curve) for curve in row.get('curves', ())]))
        for row in value['rows']]))


def _built(cls: Any, fields: Dict[str, Any]) -> Any:
    return cls(**{name: tuple(value) if type(value) is list else value
                  for name, value in fields.items()})


def _interval(fields: Dict[str, Any]) -> Any:
    return Interval(*fields['interval']) if fields.get('interval') else None


def _difference(row: Dict[str, Any]) -> Any:
    fields = row.get('difference')
    return Difference(**dict(fields, interval=_interval(fields))) if fields else None


def update(page: str, folder: str, pictures: str, check: bool = False) -> None:
    """Show each study in `folder` in its block of the file `page`; draw it into `pictures`.

    The block of results/studies/tutorial.json is 'study tutorial'. With `check`, write nothing and
    raise UserError if a block or a picture is stale.
    """
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), 'studies', '*.json'))):
        name, comparison = os.path.splitext(os.path.basename(path))[0], read(path)
        lines = [*_table(comparison), '']
        for file, alt, data, draw in _pictures(name, comparison):
            picture = os.path.join(pictures, file)
            svg.update_pictures(picture, data, draw, check)
            lines += markdown.picture(os.path.relpath(picture, os.path.dirname(page)), alt)
        markdown.update_block(page, f'study {name}', lines, check)


def _table(comparison: Comparison) -> List[str]:
    """Return the table of compare.py --markdown, with published accuracies for training times.

    Runs of a study may share the machine with other work, so their times say little.
    """
    is_test = comparison.split == 'test'  # published accuracies are
    return formats.markdown_table(
        comparison, {'published': lambda row: _published(comparison, row)} if is_test else {})


def _published(comparison: Comparison, row: Row) -> str:
    """Return the published accuracy of a row's model and recipe, unless other settings differ."""
    base = comparison.baseline.settings
    if any(base[name] != value for name, value in row.settings.items()
           if name not in ('model', 'recipe')):
        return formats.NONE
    known = catalog.RECIPES.get(row.recipe or row.settings.get('recipe', ''))
    published = known and known.published.get(row.model)
    return markdown.escape(published.accuracy) if published else formats.NONE


def _pictures(name: str, comparison: Comparison) -> Iterator[Tuple[str, str, List[str], Any]]:
    """Yield name, description, data in words, and drawing function of each picture of a study."""
    bars = charts.differences(comparison.rows)
    title = f'Difference in accuracy from {comparison.baseline.name}'
    yield (f'study-{name}-differences', title, [str(bar) for bar in bars], lambda colours:
           charts.bars(f'{name}-differences', title, bars, colours).svg)
    lines = charts.learning_curves(comparison.rows, 'eval_accuracies')
    yield (f'study-{name}-curves', 'Accuracy while training', [str(line) for line in lines],
           lambda colours: charts.curves(f'{name}-curves', 'Accuracy while training', 'accuracy, %',
                                         lines, 100, colours=colours, has_legend=True).svg)

"""The README's table of accuracy, made from results/*.json."""

import functools
import itertools
import re
import textwrap
from typing import Callable, Dict, List, Optional

import models
from permafrost.experiments import markdown, model_info, results
from permafrost.experiments.results import Result
from permafrost.recipes import catalog, durations
from permafrost.recipes.recipe import Published


def table(recorded: List[Result]) -> List[str]:
    """Return Markdown: a row for each result in the order of the recipes, and facts under it."""
    pairs = itertools.product(catalog.RECIPES, models.MODELS)
    order = {pair: place for place, pair in enumerate(pairs)}
    recorded = sorted(recorded, key=lambda result: (
        order.get((result['recipe'], result['model']), len(order)), result['steps']))
    sources = dict.fromkeys(p.source for p in map(_published, recorded) if p)
    present = {result['model'] for result in recorded}
    missing = ', '.join(f'`{name}`{_hours(name, recorded)}' for name in models.MODELS
                        if name not in present)
    note = '; hours on two cores, estimated from the most similar network above'
    lines = markdown.table(list(COLUMNS), [
        [cell(result) for cell in COLUMNS.values()] for result in recorded])
    for text in (
            sources and f"Published accuracies: {'; '.join(sources)}.",
            missing and f"No result yet: {missing}{note if ' h)' in missing else ''}. "
            '`bin/permafrost train --model NAME`, `bin/permafrost eval --run runs/NAME/1 --tta '
            'flip_shift --results results` and `make readme` add a row.'):
        if text:
            lines += ['', *textwrap.wrap(text, 100, break_long_words=False)]
    return lines


def _hours(model: str, recorded: List[Result]) -> str:
    """Return ' (4 h)', how long training `model` takes at the speed of its family on a CPU.

    '' if no network of its family has been trained only on a CPU.
    """
    family = [result for result in recorded if not results.gpu(result)
              and result['model'].rstrip('0123456789') == model.rstrip('0123456789')]
    if not family:
        return ''
    recipe = catalog.RECIPES[catalog.default_recipe(model)]
    ops = _ops(model, recipe.image_size)
    nearest = min(family, key=lambda result: abs(result['ops'] - ops))
    seconds_of_op = nearest['train_seconds'] / (
        nearest['steps'] * nearest['batch_size'] * nearest['ops'])
    images = durations.num_steps(recipe) * recipe.batch_size
    return f' ({images * ops * seconds_of_op / 3600:.0f} h)'


@functools.lru_cache(None)
def _ops(model: str, image_size: int) -> int:
    return model_info.measure_model(model, image_size)['ops']


def _recipe(result: Result) -> str:
    on_other_data = f" on {result['dataset']}" if result['dataset'] != 'cifar10' else ''
    changes = results.changes(result)
    in_brackets = f" ({', '.join(changes)})" if changes else ''
    in_brackets = re.sub(r'\b(earlier_)?compute_dtype=', '', in_brackets)
    return markdown.escape(result['recipe'] + on_other_data + in_brackets)


def _training(result: Result) -> str:
    in_epochs = result['settings'].get('epochs')
    length = f"{result['epochs']:g} epochs" if in_epochs else f"{result['steps']:,} steps"
    gpu = results.gpu(result)
    return f"{length}, {result['train_seconds'] / 60:.0f} min{gpu and ' on ' + gpu}"


def _accuracy(result: Result) -> str:
    accuracy = f"**{_percent(result['accuracy'])}**"
    if results.has_tta(result):
        accuracy += f" / {_percent(result['accuracy_tta'])}"
        accuracy += f" ({result['tta']})" if result['tta'] != 'flip_shift' else ''
    return accuracy


def _published_accuracy(result: Result) -> str:
    published = _published(result)
    return published.accuracy if published else '–'


# At most six: a page on GitHub is not wide enough for more.
COLUMNS: Dict[str, Callable[[Result], str]] = {
    'model': lambda result: result['model'],
    'recipe': _recipe,
    'parameters / operations (M)': lambda result: (
        f"{result['params'] / 1e6:.2f} / {result['ops'] / 1e6:.2f}"),
    'training': _training,
    'accuracy / with TTA flip_shift (%)': _accuracy,
    'published (%)': _published_accuracy,
}


def _percent(summary: Result) -> str:
    return markdown.percent(summary['mean'], summary['std'] if len(summary['values']) > 1 else None)


def _published(result: Result) -> Optional[Published]:
    # Shown if it says how long was trained, or `result` was trained as long.
    recipe = catalog.RECIPES.get(result['recipe'])
    published = recipe.published.get(result['model']) if recipe else None
    if not published or result['dataset'] != 'cifar10':
        return None
    same_length = result['steps'] == durations.num_steps(recipe)
    return published if same_length or ' in ' in published.accuracy else None

"""The README's table of accuracy, made from results/*.json."""

import textwrap
from typing import List, Optional

import models
from permafrost.experiments import markdown
from permafrost.experiments.results import Result
from permafrost.recipes import catalog, durations
from permafrost.recipes.recipe import Published

HEADER = ('model', 'recipe', 'parameters / operations (M)', 'length',
          'accuracy / with TTA flip_shift (%)', 'published (%)')


def table(results: List[Result]) -> List[str]:
    """Return Markdown: a row for each result in the order of the recipes, and facts under it."""
    recipes, names = list(catalog.RECIPES), list(models.MODELS)
    known = [result for result in results
             if result['recipe'] in recipes and result['model'] in names]
    known.sort(key=lambda result: (recipes.index(result['recipe']), names.index(result['model']),
                                   result['steps']))
    results = known + [result for result in results if result not in known]
    sources = dict.fromkeys(p.source for p in map(_published, results) if p)
    missing = [f'`{name}`' for name in names if name not in {r['model'] for r in results}]
    lines = markdown.table(HEADER, map(_row, results))
    for text in (
            f"Training: {'; '.join(map(_training, results))}.",
            sources and f"Published figures: {'; '.join(sources)}.",
            missing and f"No result yet: {', '.join(missing)}. `python train.py --model NAME`, "
            '`python eval.py --run runs/NAME/1 --tta flip_shift --results results` and '
            '`make readme` add a row.'):
        if text:
            lines += ['', *textwrap.wrap(text, 100, break_long_words=False)]
    return lines


def _row(result: Result) -> List[str]:
    accuracy, published = f"**{_percent(result['accuracy'])}**", _published(result)
    if 'tta' in result:
        accuracy += f" / {_percent(result['accuracy_tta'])}"
        accuracy += f" ({result['tta']})" if result['tta'] != 'flip_shift' else ''
    in_epochs = result['settings'].get('epochs')
    on_other_data = f" on {result['data_set']}" if result['data_set'] != 'cifar10' else ''
    return [result['model'], result['recipe'] + on_other_data,
            f"{result['params'] / 1e6:.2f} / {result['ops'] / 1e6:.2f}",
            f"{result['epochs']:g} epochs" if in_epochs else f"{result['steps']:,} steps",
            accuracy, published.accuracy if published else '–']


def _percent(summary: Result) -> str:
    spread = f" ± {100 * summary['std']:.2f}" if len(summary['values']) > 1 else ''
    return f"{100 * summary['mean']:.2f}{spread}"


def _training(result: Result) -> str:
    name = result['model']
    if result['recipe'] != name:
        name += f" ({result['recipe']})"
    seeds, minutes = len(result['seeds']), result['train_seconds'] / 60
    rounded = ' in bfloat16' if 'bfloat16' in result['settings'].values() else ''
    return (f"{name} {seeds} seed{'s' * (seeds > 1)}, {minutes:.0f} minutes, "
            f"{result['engine']}{rounded}")


def _published(result: Result) -> Optional[Published]:
    """Return the published accuracy, if it says how long was trained or `result` is as long."""
    recipe = catalog.RECIPES.get(result['recipe'])
    published = dict(recipe.published).get(result['model']) if recipe else None
    if not published or result['data_set'] != 'cifar10':
        return None
    same_length = result['steps'] == durations.num_steps(recipe)
    return published if same_length or ' in ' in published.accuracy else None

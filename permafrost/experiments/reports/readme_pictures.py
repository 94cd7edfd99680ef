"""README's pictures: accuracy against operations and latency, drawn from results/*.json."""

import dataclasses
import functools
import os
import textwrap
from typing import Any, Dict, List, Mapping, Sequence

from permafrost import schema
from permafrost.experiments import markdown, results
from permafrost.experiments.reports import pareto, svg
from permafrost.recipes import durations
from permafrost.recipes.recipe import Recipe
from permafrost.schema import limited

FOLDER = os.path.join('docs', 'pictures')
OURS, PUBLISHED = 'Permafrost', 'original implementation'
# Model: million operations, ms in C++ on its author's machine, accuracy in percent.
ORIGINAL = {'tuto': (37.75, 44, 87.2), 'alex4': (35.20, 50, 87.5), 'nin2': (251.36, 90, 89.8),
            'squeeze1': (22.84, 27, 87.8)}
HEIGHT = 4.2  # inches


@dataclasses.dataclass
class Measurement:
    """A measured latency."""
    median: float = limited(minimum=1e-6)  # ms


@dataclasses.dataclass
class LatencyBenchmarkFile:
    """The fields of benchmark-latency.json."""
    figures: Dict[str, Measurement]
    ops: Dict[str, int]
    versions: Dict[str, str]  # 'engine', 'tensorflow'
    machine: Dict[str, Any]


def update(readme: str, folder: str, pictures: str, check: bool = False) -> None:
    """Draw the results in `folder` into the folder `pictures`; show them in the file `readme`.

    With `check`, write nothing and raise UserError if a picture shows other data.
    """
    measured = _latencies(folder)
    best = _best(results.load(folder))
    by_cost: Dict[str, List[pareto.Point]] = {'operations': [], 'latency': []}
    for result in best:
        model, accuracy = result['model'], 100 * result['accuracy']['mean']
        by_cost['operations'].append(pareto.Point(model, result['ops'] / 1e6, accuracy, group=OURS))
        if _is_measured(result, measured):
            milliseconds = measured['figures'][model]['median']
            by_cost['latency'].append(pareto.Point(model, milliseconds, accuracy, group=OURS))
    for model, (ops, milliseconds, accuracy) in ORIGINAL.items():
        by_cost['operations'].append(pareto.Point(model, ops, accuracy, group=PUBLISHED))
        by_cost['latency'].append(pareto.Point(model, milliseconds, accuracy, group=PUBLISHED))
    for name, points in by_cost.items():
        svg.update_pictures(os.path.join(pictures, name), [_in_words(point) for point in points],
                            functools.partial(_draw, name, points), check)
    markdown.update_block(readme, 'pictures', _block(
        os.path.relpath(pictures, os.path.dirname(readme) or '.'), measured), check)


def _latencies(folder: str) -> Dict[str, Any]:
    path = os.path.join(folder, 'benchmark-latency.json')
    try:
        return schema.read(path, LatencyBenchmarkFile, schema.RESTORE)
    except FileNotFoundError:
        return {'figures': {}, 'ops': {}, 'versions': {}, 'machine': {}}


def _is_measured(result: results.Result, measured: Dict[str, Any]) -> bool:
    """Return whether the latency is of the result's network, which other image sizes change too."""
    model = result['model']
    return model in measured['figures'] and measured['ops'].get(model) == result['ops']


def _best(recorded: Sequence[results.Result]) -> List[results.Result]:
    """Return the most accurate result of each model on CIFAR-10, trained as its recipe says."""
    best: Dict[str, results.Result] = {}
    for result in sorted(recorded, key=lambda result: result['accuracy']['mean']):
        changes = [change for change in results.changes(result)
                   if not change.startswith('compute_dtype=')]  # frozen graphs are float32
        is_longer = result['steps'] > durations.num_steps(Recipe.from_json(result['settings']))
        if result['dataset'] == 'cifar10' and not changes and not is_longer:
            best[result['model']] = result
    return sorted(best.values(), key=lambda result: (result['ops'], result['model']))


def _in_words(point: pareto.Point) -> str:
    return f'{point.group}: {point.name}, {point.cost:.4g}, {point.accuracy:.2f} %'


def _draw(name: str, points: Sequence[pareto.Point], colours: Mapping[str, str]) -> str:
    axis = {'operations': 'operations for one image (million)',
            'latency': 'latency of one image in C++ (ms)'}[name]
    return pareto.chart(name, f'Accuracy on CIFAR-10 against {name}', axis, points,
                        OURS, HEIGHT, colours, has_legend=True).svg


def _block(pictures: str, measured: Dict[str, Any]) -> List[str]:
    """Return the Markdown that shows the pictures: in the colours of the reader's theme."""
    lines = []
    for name in ('operations', 'latency'):
        lines += markdown.picture(
            f'{pictures}/{name}', f'Accuracy on the test images of CIFAR-10 against {name}, '
            'logarithmic')
    cpu = measured['machine'].get('cpu')
    if cpu:
        where = markdown.escape(f"{cpu}, TensorFlow {measured['versions'].get('tensorflow', '')}")
        text = ("Each point is a model's best recorded result with an unchanged recipe; the second "
                'chart has the models whose latency has been measured. For comparison, the charts '
                'show the published results of the original implementation, after 300,000 steps; '
                'its latencies were measured on another machine. Latency here: one image, one '
                f'thread of {where}.')
        lines += ['', *textwrap.wrap(text, 100, break_long_words=False)]
    return lines

"""The tables of docs/speed.md on the input pipeline and training, from results/benchmark-*.json."""

import dataclasses
import glob
import os
import textwrap
from typing import Any, Dict, Iterable, List

from permafrost import schema
from permafrost.experiments import markdown
from permafrost.experiments.tables.measurements import (
    ENGINES,
    NOT_RECORDED,
    Measurement,
    MeasurementJson,
    bound,
    judged,
    read,
    short,
)
from permafrost.recipes import catalog, durations
from permafrost.recipes.recipe import PLAIN_NAME
from permafrost.schema import limited

TRAINERS = {'float32': {**ENGINES, 'pytorch': 'PyTorch', 'pytorch-compiled': 'PyTorch, compiled'},
            'bfloat16': {'tf2-bfloat16': '`tf2`', 'pytorch-bfloat16': 'PyTorch',
                         'pytorch-compiled-bfloat16': 'PyTorch, compiled'}}


@dataclasses.dataclass
class Network:
    """The size of a network: the operations of training on one image."""
    training_ops: float


@dataclasses.dataclass
class PipelineFile:
    """The fields of benchmark-pipeline-*.json."""
    figures: Dict[str, MeasurementJson]
    engine: str = limited(test=PLAIN_NAME, meaning='a plain name')


@dataclasses.dataclass
class TrainingFile:
    """The fields of benchmark-training.json."""
    networks: Dict[str, Network]
    figures: Dict[str, MeasurementJson]


@dataclasses.dataclass
class RecordFile:
    """The fields of trials/record-*.json, of one seed each, by benchmarks/runtimes/torch_record."""
    train_seconds: float
    accuracy: float
    accuracy_tta: float


@dataclasses.dataclass
class Accuracies:
    """Those of all seeds."""
    values: List[float]


@dataclasses.dataclass
class TrialResultFile:
    """The fields of a result of eval.py; the seconds are those of the slowest seed."""
    train_seconds: float
    accuracy: Accuracies
    accuracy_tta: Accuracies


def pipeline(folder: str) -> List[str]:
    """Return Markdown: the targets of the input pipeline, and what each engine reached."""
    engines = [schema.read(path, PipelineFile, schema.RESTORE) for path in sorted(
        glob.glob(os.path.join(glob.escape(folder), 'benchmark-pipeline-*.json')))]
    targets = {name: measured for engine in engines for name, measured in engine['figures'].items()
               if 'target' in measured}
    if not targets:
        return NOT_RECORDED
    rows = []
    for name, measured in sorted(targets.items()):
        target = f"at {bound(measured)} {markdown.escape(measured.get('unit', ''))}".strip()
        rows.append([markdown.escape(name), target,
                     *(judged(engine['figures'].get(name)) for engine in engines)])
    return markdown.table(['', 'target'] + [f"`{engine['engine']}`" for engine in engines], rows)


def training(folder: str) -> List[str]:
    """Return Markdown: training in images/s next to PyTorch, targets, and minutes for recipes."""
    benchmark = read(folder, 'benchmark-training.json', TrainingFile)
    if not benchmark:
        return NOT_RECORDED
    networks, figures = benchmark['networks'], benchmark['figures']
    lines: List[str] = []
    for precision, trainers in TRAINERS.items():
        rows = [[markdown.escape(title), *_medians(figures, title, trainers)]
                for title in _titles(networks, figures)]
        lines += [*markdown.table([precision, *trainers.values()], rows), '']
    targets = [f"- {_mean_or_share(name)}: {measured['median']:.2f} (target: at "
               f"{bound(measured)}; {'met' if measured.get('met', True) else '**not met**'})."
               for name, measured in figures.items() if 'target' in measured]
    return [*lines, *_ratios(networks, figures), '', *targets, *([''] if targets else []),
            *_recipe_minutes(networks, figures)]


def ablation(folder: str) -> List[str]:
    """Return Markdown: sprint's steps without each of the things that make them faster.

    The slowest is the first. A trial of sprint alone counts more than that of all networks.
    """
    trials = os.path.join(folder, 'trials')
    benchmark = (read(trials, 'benchmark-training-sprint.json', TrainingFile) or
                 read(folder, 'benchmark-training.json', TrainingFile))
    speeds = {key: measured['median'] for key, measured in (benchmark or {'figures': {}})[
        'figures'].items() if ' ablation: ' in key}
    if not speeds or min(speeds.values()) <= 0:
        return NOT_RECORDED
    model, _, _ = next(iter(speeds)).partition(' ablation: ')
    trained = next((speed for key, speed in speeds.items() if key.endswith(': tf2-bfloat16')), None)
    return markdown.table(
        [f'steps of {markdown.escape(model)}', 'images/s', 'ratio'],
        [[markdown.escape(key.partition(': ')[2].replace('tf2-bfloat16', 'tf2, bfloat16')),
          short(speed), f'{speed / trained:.2f}' if trained else short(None)]
         for key, speed in sorted(speeds.items(), key=lambda item: item[1])])


def training_avx2(folder: str) -> List[str]:
    """Return Markdown: steps in float32 on a processor with AVX2 alone, next to PyTorch."""
    benchmark = read(os.path.join(folder, 'trials'), 'benchmark-training-avx2.json', TrainingFile)
    if not benchmark:
        return NOT_RECORDED
    figures, trainers = benchmark['figures'], TRAINERS['float32']
    rows = []
    for title in _titles(benchmark['networks'], figures):
        ratios = [measured['median'] for key, measured in figures.items()
                  if key.startswith(title + ': ') and ' by ' in key]
        if title.endswith(' step'):
            rows.append([markdown.escape(title), *_medians(figures, title, trainers),
                         *(f'{ratio:.2f}' for ratio in ratios[:1])])
    means = [f"{_mean_or_share(key)}: {measured['median']:.2f}."
             for key, measured in figures.items() if key.startswith('five networks')]
    return [*markdown.table(
        ['float32', *trainers.values(), "our fastest / PyTorch's fastest"], rows), '', *means]


def record(folder: str) -> List[str]:
    """Return Markdown: sprint and airbench94 in PyTorch, trained in turn."""
    trials = os.path.join(folder, 'trials')
    ours = read(trials, 'sprint-sprint-400.json', TrialResultFile)
    peers = [schema.read(path, RecordFile, schema.RESTORE) for path in sorted(
                 glob.glob(os.path.join(glob.escape(trials), 'record-*.json')))]
    if not ours or not peers:
        return NOT_RECORDED
    rows = [['sprint, tf2', ours['train_seconds'],
             *(ours[name]['values'] for name in ('accuracy', 'accuracy_tta'))],
            ['airbench94, PyTorch', max(peer['train_seconds'] for peer in peers),
             *([peer[name] for peer in peers] for name in ('accuracy', 'accuracy_tta'))]]
    return markdown.table(
        ['', 'minutes, slowest seed', 'accuracy (%)', 'with TTA (%)'],
        [[name, f'{seconds / 60:.2f}', *(', '.join(f'{100 * each:.2f}' for each in values)
                                         for values in both)] for name, seconds, *both in rows])


def _titles(networks: Dict[str, Any], figures: Dict[str, Measurement]) -> List[str]:
    return [f'{model} {kind}' for model in networks for kind in ('forward', 'backward', 'step')
            if f'{model} {kind}: pytorch' in figures]


def _ratios(networks: Dict[str, Any], figures: Dict[str, Measurement]) -> List[str]:
    """Return a table of the ratios to PyTorch, which say in their names which two they compare."""
    rows = []
    for title in _titles(networks, figures):
        for key, measured in figures.items():
            names = key.partition(': ')[2].split(' by ')
            if key.startswith(title + ': ') and len(names) == 2:
                rows.append([markdown.escape(title), *(markdown.escape(_trainer(name))
                                                       for name in names),
                             f"{measured['median']:.2f}"])
    return markdown.table(['', 'our fastest', "PyTorch's fastest", 'ratio'], rows)


def _trainer(name: str) -> str:
    """Return a name with its precision."""
    return next((f'{trainers[name]}, {precision}' for precision, trainers in TRAINERS.items()
                 if name in trainers), name).replace('`', '')


def _medians(figures: Dict[str, Measurement], title: str, names: Iterable[str]) -> List[str]:
    return [short(figures.get(f'{title}: {name}', {}).get('median')) for name in names]


def _recipe_minutes(networks: Dict[str, Any], figures: Dict[str, Measurement]) -> List[str]:
    """Return a table of the minutes that the recipes of today take at the measured speeds."""
    trainers = [name for names in TRAINERS.values() for name in names]
    peers = [name for name in trainers if name.startswith('pytorch')]
    rows, sizes = [], []
    for model, network in networks.items():
        recipe = catalog.RECIPES[catalog.default_recipe(model)]
        images = durations.num_steps(recipe) * recipe.batch_size
        shares = [measured['median'] for key, measured in figures.items()
                  if key.startswith(f'{model} step: ') and key.endswith(', of the peak')]
        rows.append([markdown.escape(model),
                     *(_least_minutes(figures, model, images, names) for names in (
                         [name for name in trainers if name not in peers], peers)),
                     ', '.join(map(short, shares)) or short(None)])
        sizes.append(f"{markdown.escape(model)} {short(images / 1e6)} million images, "
                     f"{images * network['training_ops'] / 1e15:.2g} PFLOP")
    precisions = 'float32, bfloat16' if any(', ' in row[-1] for row in rows) else 'float32'
    header = ['minutes', 'our fastest', "PyTorch's fastest",
              f'share of the peak: {precisions}']
    return [*markdown.table(header, rows), '',
            *textwrap.wrap('Recipes: ' + '; '.join(sizes) + '.', 100)]


def _mean_or_share(name: str) -> str:
    """Return the name of a figure, a geometric mean or a share of the peak, in words."""
    return markdown.escape(name).replace(
        'our best by the best of PyTorch', "our fastest / PyTorch's fastest, geometric mean"
    ).replace(', of the peak', ', share of the peak')


def _least_minutes(figures: Dict[str, Measurement], model: str, images: int,
                   names: Iterable[str]) -> str:
    speeds = {name: figures.get(f'{model} step: {name}', {}).get('median', 0.) for name in names}
    best = max(speeds, key=lambda name: speeds[name])
    if speeds[best] <= 0:
        return short(None)
    return f'{short(images / speeds[best] / 60)} ({markdown.escape(_trainer(best))})'


# Of docs/speed.md
TABLES = {'pipeline': pipeline, 'training': training, 'ablation': ablation,
          'training-avx2': training_avx2, 'record': record}

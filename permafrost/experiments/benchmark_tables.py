"""The tables of docs/speed.md, made from results/benchmark-*.json."""

import glob
import os
import re
import textwrap
from typing import Any, Dict, Iterable, List, Optional

from permafrost import files
from permafrost.experiments import markdown

NOT_RECORDED = ['Not recorded yet.']

ENGINES = {'tf1': '`tf1`', 'tf1-mkl': '`tf1-mkl`', 'tf2': '`tf2`'}
TRAINERS = dict(ENGINES, pytorch='PyTorch')
BFLOAT16_TRAINERS = {'tf2-bfloat16': '`tf2`', 'pytorch-bfloat16': 'PyTorch'}
RUNTIMES = dict(ENGINES, onnxruntime='ONNX Runtime', litert='LiteRT', openvino='OpenVINO')

Figure = Dict[str, Any]  # 'median' and, where there is a target, 'target', 'bound' and 'met'


def pipeline(folder: str) -> List[str]:
    """Return Markdown: the targets of the input pipeline, and what each engine reached."""
    engines = [files.read_json(path) for path in sorted(
        glob.glob(os.path.join(folder, 'benchmark-pipeline-*.json')))]
    targets = {name: figure for engine in engines for name, figure in engine['figures'].items()
               if 'target' in figure}
    if not targets:
        return NOT_RECORDED
    rows = []
    for name, figure in sorted(targets.items()):
        target = f"at {figure['bound']} {figure['target']:,g} {figure['unit']}".strip()
        rows.append([name, target] + [_judged(engine['figures'].get(name)) for engine in engines])
    return markdown.table(['', 'target'] + [f"`{engine['engine']}`" for engine in engines], rows)


def training(folder: str) -> List[str]:
    """Return Markdown: training in images/s next to PyTorch, targets, and minutes for recipes."""
    benchmark = files.read_json(os.path.join(folder, 'benchmark-training.json'))
    if not benchmark:
        return NOT_RECORDED
    networks, figures = benchmark['networks'], benchmark['figures']
    titles = [f'{model} {name}' for model in networks for name in ('forward', 'backward', 'step')
              if f'{model} {name}: pytorch' in figures]
    rows = []
    for title in titles:
        ratio = max(figure['median'] for key, figure in figures.items()
                    if key.startswith(title) and key.endswith(' by pytorch'))
        rows.append([title, *_medians(figures, title, TRAINERS), f'{ratio:.2f}'])
    bfloat16_rows = [[title, *_medians(figures, title, BFLOAT16_TRAINERS)] for title in titles]
    targets = [f"- {name}: {figure['median']:.2f}, at {figure['bound']} {figure['target']:g}: "
               f"{'met' if figure['met'] else '**not met**'}."
               for name, figure in figures.items() if 'target' in figure]
    return [*markdown.table(['float32', *TRAINERS.values(), 'best engine / PyTorch'], rows), '',
            *markdown.table(['bfloat16', *BFLOAT16_TRAINERS.values()], bfloat16_rows), '',
            *targets, *([''] if targets else []), *_recipe_minutes(networks, figures)]


def _medians(figures: Dict[str, Figure], title: str, names: Iterable[str]) -> List[str]:
    return [_short(figures.get(f'{title}: {name}', {}).get('median')) for name in names]


def _recipe_minutes(networks: Dict[str, Any], figures: Dict[str, Figure]) -> List[str]:
    rows, sizes = [], []
    for model, network in networks.items():
        title = f'{model}, its whole recipe'
        best = next((name for name in ENGINES if f'{title}: {name}' in figures), '')
        names = (best, 'pytorch', 'tf2-bfloat16', 'pytorch-bfloat16')
        rows.append([model, *_medians(figures, title, names),
                     *_medians(figures, f'{model} step', [f'{best}, of the peak'])])
        sizes.append(f"{model} {_short(network['images'] / 1e6)} million images, "
                     f"{network['images'] * network['training_ops'] / 1e15:.2g} PFLOP")
    header = ['minutes', 'best engine', 'PyTorch', '`tf2`, bfloat16', 'PyTorch, bfloat16',
              'share of the peak']
    return [*markdown.table(header, rows), '',
            *textwrap.wrap('Recipes: ' + '; '.join(sizes) + '.', 100)]


def inference(folder: str) -> List[str]:
    """Return Markdown: milliseconds a run of frozen graphs, the least of each column in bold."""
    benchmark = files.read_json(os.path.join(folder, 'benchmark-inference.json'))
    if not benchmark:
        return NOT_RECORDED
    lines = []
    for model in benchmark['graphs']:
        times: Dict[str, Dict[str, float]] = {}  # column -> {runtime: ms}
        ratios = {}  # column -> figure
        for key, figure in benchmark['figures'].items():
            match = re.match(
                rf'{model}, batch (\d+), (\d+) threads?: (\S+)( by onnxruntime)?$', key)
            if match:
                batch, threads, name, is_ratio = match.groups()
                column = f'{batch} images' if batch != '1' else '1 image'
                column += f', {threads} threads' if threads != '1' else ''
                if is_ratio:
                    ratios[column] = figure
                else:
                    times.setdefault(column, {})[name] = figure['median']
        rows = [[title, *(_bold_if_least(column, name) for column in times.values())]
                for name, title in RUNTIMES.items()]
        rows.append(['best engine / ONNX Runtime', *(_judged(ratios[column]) for column in times)])
        lines += [*markdown.table([model, *times], rows), '']
    return lines[:-1]


def _bold_if_least(times: Dict[str, float], name: str) -> str:
    text = _short(times[name])
    return f'**{text}**' if times[name] == min(times.values()) else text


def _judged(figure: Optional[Figure]) -> str:
    if figure is None:
        return '–'
    median = figure['median']
    text = f'{median:,.0f}' if median >= 1000 else _short(median)
    return text if figure.get('met', True) else text + ' (**not met**)'


def _short(value: Optional[float]) -> str:
    if value is None:
        return '–'
    return f'{value:.0f}' if value >= 100 else f'{value:#.3g}'


TABLES = {'pipeline': pipeline, 'training': training, 'inference': inference}

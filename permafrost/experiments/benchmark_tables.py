"""The tables of docs/speed.md and docs/deploy.md, made from results/benchmark-*.json."""

import dataclasses
import glob
import os
import re
import textwrap
from typing import Any, Dict, Iterable, List, Optional

from permafrost import schema
from permafrost.experiments import markdown
from permafrost.recipes import catalog, durations
from permafrost.recipes.recipe import PLAIN_NAME
from permafrost.schema import limited

NOT_RECORDED = ['Not recorded yet.']

ENGINES = {'tf1': '`tf1`', 'tf1-mkl': '`tf1-mkl`', 'tf2': '`tf2`'}
TRAINERS = {'float32': {**ENGINES, 'pytorch': 'PyTorch', 'pytorch-compiled': 'PyTorch, compiled'},
            'bfloat16': {'tf2-bfloat16': '`tf2`', 'pytorch-bfloat16': 'PyTorch',
                         'pytorch-compiled-bfloat16': 'PyTorch, compiled'}}
RUNTIMES = dict(ENGINES, onnxruntime='ONNX Runtime', litert='LiteRT', openvino='OpenVINO')

Measurement = Dict[str, Any]  # of the fields of MeasurementJson


@dataclasses.dataclass
class MeasurementJson:
    """A measured number; `bound` and `met` where it has a target."""
    median: float
    unit: str = ''
    target: float = 0.
    bound: str = limited('', names=('least', 'most'))
    met: bool = False


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


@dataclasses.dataclass
class InferenceFile:
    """The fields of benchmark-inference.json."""
    graphs: Dict[str, Any]
    figures: Dict[str, MeasurementJson]


@dataclasses.dataclass
class DeployedFile:
    """A file in a runtime; `ms` has medians by '<batch size> <threads>'."""
    file: str
    runtime: str
    bytes: int
    correct: int
    images: int
    ms: Dict[str, float]


@dataclasses.dataclass
class DeployFile:
    """The fields of benchmark-deploy.json."""
    models: Dict[str, List[DeployedFile]]
    machine: Dict[str, Any]


@dataclasses.dataclass
class MicroFile:
    """The fields of tflm/*.json, which freeze_graph.py wrote."""
    model: str
    bytes: int
    arena_bytes: int
    correct: int
    images: int
    agreement: float
    ops_to_register: List[str]


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
        target = f"at {_bound(measured)} {markdown.escape(measured.get('unit', ''))}".strip()
        rows.append([markdown.escape(name), target,
                     *(_judged(engine['figures'].get(name)) for engine in engines)])
    return markdown.table(['', 'target'] + [f"`{engine['engine']}`" for engine in engines], rows)


def training(folder: str) -> List[str]:
    """Return Markdown: training in images/s next to PyTorch, targets, and minutes for recipes."""
    benchmark = _read(folder, 'benchmark-training.json', TrainingFile)
    if not benchmark:
        return NOT_RECORDED
    networks, figures = benchmark['networks'], benchmark['figures']
    lines: List[str] = []
    for precision, trainers in TRAINERS.items():
        rows = [[markdown.escape(title), *_medians(figures, title, trainers)]
                for title in _titles(networks, figures)]
        lines += [*markdown.table([precision, *trainers.values()], rows), '']
    targets = [f"- {_mean_or_share(name)}: {measured['median']:.2f} (target: at "
               f"{_bound(measured)}; {'met' if measured.get('met') else '**not met**'})."
               for name, measured in figures.items() if 'target' in measured]
    return [*lines, *_ratios(networks, figures), '', *targets, *([''] if targets else []),
            *_recipe_minutes(networks, figures)]


def ablation(folder: str) -> List[str]:
    """Return Markdown: sprint's steps without each of the things that make them faster.

    The slowest is the first. A trial of sprint alone counts more than that of all networks.
    """
    trials = os.path.join(folder, 'trials')
    benchmark = (_read(trials, 'benchmark-training-sprint.json', TrainingFile) or
                 _read(folder, 'benchmark-training.json', TrainingFile))
    speeds = {key: measured['median'] for key, measured in (benchmark or {'figures': {}})[
        'figures'].items() if ' ablation: ' in key}
    if not speeds or min(speeds.values()) <= 0:
        return NOT_RECORDED
    model, _, _ = next(iter(speeds)).partition(' ablation: ')
    trained = next((speed for key, speed in speeds.items() if key.endswith(': tf2-bfloat16')), None)
    return markdown.table(
        [f'steps of {markdown.escape(model)}', 'images/s', 'ratio'],
        [[markdown.escape(key.partition(': ')[2].replace('tf2-bfloat16', 'tf2, bfloat16')),
          _short(speed), f'{speed / trained:.2f}' if trained else _short(None)]
         for key, speed in sorted(speeds.items(), key=lambda item: item[1])])


def training_avx2(folder: str) -> List[str]:
    """Return Markdown: steps in float32 on a processor with AVX2 alone, next to PyTorch."""
    benchmark = _read(os.path.join(folder, 'trials'), 'benchmark-training-avx2.json', TrainingFile)
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
    """Return Markdown: sprint and the record in PyTorch, trained in turn."""
    trials = os.path.join(folder, 'trials')
    ours = _read(trials, 'sprint-sprint-400.json', TrialResultFile)
    peers = [schema.read(path, RecordFile, schema.RESTORE) for path in sorted(
                 glob.glob(os.path.join(glob.escape(trials), 'record-*.json')))]
    if not ours or not peers:
        return NOT_RECORDED
    rows = [['sprint, tf2', ours['train_seconds'],
             *(ours[name]['values'] for name in ('accuracy', 'accuracy_tta'))],
            ['the record, PyTorch', max(peer['train_seconds'] for peer in peers),
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
    return [_short(figures.get(f'{title}: {name}', {}).get('median')) for name in names]


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
                     ', '.join(map(_short, shares)) or _short(None)])
        sizes.append(f"{markdown.escape(model)} {_short(images / 1e6)} million images, "
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
        return _short(None)
    return f'{_short(images / speeds[best] / 60)} ({markdown.escape(_trainer(best))})'


def inference(folder: str) -> List[str]:
    """Return Markdown: milliseconds a run of frozen graphs, the least of each column in bold."""
    benchmark = _read(folder, 'benchmark-inference.json', InferenceFile)
    if not benchmark:
        return NOT_RECORDED
    lines = []
    for model in benchmark['graphs']:
        times: Dict[str, Dict[str, float]] = {}  # column -> {runtime: ms}
        ratios = {}  # column -> Measurement
        for key, measured in benchmark['figures'].items():
            match = re.match(
                rf'{re.escape(model)}, batch (\d+), (\d+) threads?: (\S+)( by onnxruntime)?$', key)
            if match:
                batch, threads, name, is_ratio = match.groups()
                column = f'{batch} images' if batch != '1' else '1 image'
                column += f', {threads} threads' if threads != '1' else ''
                if is_ratio:
                    ratios[column] = measured
                else:
                    times.setdefault(column, {})[name] = measured['median']
        rows = [[title, *(_bold_if_least(column, name) for column in times.values())]
                for name, title in RUNTIMES.items()]
        rows.append(['best engine / ONNX Runtime',
                     *(_judged(ratios.get(column)) for column in times)])
        lines += [*markdown.table([markdown.escape(model), *times], rows), '']
    return lines[:-1]


def deploy(folder: str) -> List[str]:
    """Return Markdown: a table for each model, the least of each column of times in bold."""
    benchmark = _read(folder, 'benchmark-deploy.json', DeployFile)
    if not benchmark:
        return NOT_RECORDED
    machine = benchmark['machine']
    lines = [f"Measured on {machine.get('cores', '?')} cores of "
             f"{markdown.escape(str(machine.get('cpu', 'an unknown processor')))}.", '',
             *_int8_summary(benchmark['models'])]
    for model, files in benchmark['models'].items():
        times = {key: {str(place): each['ms'][key] for place, each in enumerate(files)
                       if key in each['ms']} for key in ('1 1', '1 2', '32 1', '32 2')}
        rows = []
        for place, each in enumerate(files):
            one, two, *batches = (_bold_if_least(column, str(place)) for column in times.values())
            rates = [f"{32e3 / each['ms'][key]:,.0f}" if each['ms'].get(key) else '–'
                     for key in ('32 1', '32 2')]
            rates = [f'**{rate}**' if text.startswith('**') else rate
                     for rate, text in zip(rates, batches)]
            rows.append([markdown.escape(each['file']), markdown.escape(each['runtime']),
                         f'{100 * _accuracy(each):.2f} %',
                         f"{each['bytes'] / 1e3:,.0f}", f'{one} / {two}', ' / '.join(rates)])
        lines += [*markdown.table([markdown.escape(model), 'runtime', 'accuracy', 'kB',
                                   'ms, 1 image', 'images/s, batch 32'], rows), '']
    return lines[:-1]


def _accuracy(file: Dict[str, Any]) -> float:
    return file['correct'] / max(1, file['images'])


def _int8_summary(models: Dict[str, List[Dict[str, Any]]]) -> List[str]:
    """Return Markdown: the fastest int8 file of each model relative to its fastest float32 file."""
    rows = []
    for model, files in models.items():
        timed = [each for each in files if each['ms'].get('1 1')]
        int8 = [each for each in timed if '.int8.' in each['file']]
        floats = [each for each in timed if '.int8.' not in each['file'] and
                  '.float16.' not in each['file'] and 'bfloat16' not in each['runtime']]
        if not int8 or not floats:
            continue
        before, after = (min(each, key=lambda file: file['ms']['1 1']) for each in (floats, int8))
        lost = _accuracy(after) - _accuracy(before)
        rows.append([markdown.escape(model), *(
            f"{_short(each['ms']['1 1'])}, {markdown.escape(each['runtime'])}"
            for each in (before, after)), f"{after['ms']['1 1'] / before['ms']['1 1']:.2f}",
            f"{after['bytes'] / max(1, before['bytes']):.2f}", f'{100 * lost:+.2f}'])
    return [*markdown.table(
        ['1 image, 1 thread', 'fastest in float32, ms', 'fastest in int8, ms', 'latency ratio',
         'size ratio', 'accuracy, points'], rows), ''] if rows else []


def micro(folder: str) -> List[str]:
    """Return Markdown: the models that were measured in TensorFlow Lite Micro."""
    files = [schema.read(path, MicroFile, schema.RESTORE) for path in sorted(
                 glob.glob(os.path.join(glob.escape(folder), 'tflm', '*.json')))]
    return markdown.table(
        ['model', 'kB', 'arena, kB', 'accuracy', 'as the frozen graph', 'operations'],
        [[markdown.escape(each['model']), f"{each['bytes'] / 1e3:,.0f}",
          f"{each['arena_bytes'] / 1e3:.1f}", f"{100 * each['correct'] / each['images']:.2f} %",
          f"{100 * each['agreement']:.2f} %", str(len(each['ops_to_register']))]
         for each in files]) if files else NOT_RECORDED


def _read(folder: str, name: str, kind: type) -> Dict[str, Any]:
    try:
        return schema.read(os.path.join(folder, name), kind, schema.RESTORE)
    except FileNotFoundError:
        return {}


def _bound(measured: Measurement) -> str:
    return f"{measured.get('bound', 'least')} {measured['target']:,g}"


def _bold_if_least(times: Dict[str, float], name: str) -> str:
    text = _short(times.get(name))
    return f'**{text}**' if name in times and times[name] == min(times.values()) else text


def _judged(measured: Optional[Measurement]) -> str:
    if measured is None:
        return '–'
    median = measured['median']
    text = f'{median:,.0f}' if median >= 1000 else _short(median)
    return text if measured.get('met', True) else text + ' (**not met**)'


def _short(value: Optional[float]) -> str:
    return '–' if value is None else markdown.three_digits(value)


DEPLOY_TABLES = {'deploy': deploy, 'micro': micro}  # of docs/deploy.md
TABLES = {'pipeline': pipeline, 'training': training, 'ablation': ablation,
          'training-avx2': training_avx2, 'record': record, 'inference': inference}

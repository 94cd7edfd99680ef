"""The tables of inference in docs/speed.md and docs/deploy.md: frozen graphs, exported files."""

import dataclasses
import glob
import os
import re
from typing import Any, Dict, List

from permafrost import schema
from permafrost.experiments import markdown
from permafrost.experiments.tables.measurements import (
    ENGINES,
    NOT_RECORDED,
    MeasurementJson,
    bold_if_least,
    judged,
    read,
    short,
)

RUNTIMES = dict(ENGINES, onnxruntime='ONNX Runtime', litert='LiteRT', openvino='OpenVINO')


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


def inference(folder: str) -> List[str]:
    """Return Markdown: milliseconds a run of frozen graphs, the least of each column in bold."""
    benchmark = read(folder, 'benchmark-inference.json', InferenceFile)
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
        rows = [[title, *(bold_if_least(column, name) for column in times.values())]
                for name, title in RUNTIMES.items()]
        rows.append(['best engine / ONNX Runtime',
                     *(judged(ratios.get(column)) for column in times)])
        lines += [*markdown.table([markdown.escape(model), *times], rows), '']
    return lines[:-1]


def deploy(folder: str) -> List[str]:
    """Return Markdown: a table for each model, the least of each column of times in bold."""
    benchmark = read(folder, 'benchmark-deploy.json', DeployFile)
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
            one, two, *batches = (bold_if_least(column, str(place)) for column in times.values())
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
            f"{short(each['ms']['1 1'])}, {markdown.escape(each['runtime'])}"
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
        ['model', 'kB', 'arena, kB', 'accuracy', 'agreement with the frozen graph', 'operations'],
        [[markdown.escape(each['model']), f"{each['bytes'] / 1e3:,.0f}",
          f"{each['arena_bytes'] / 1e3:.1f}", f"{100 * each['correct'] / each['images']:.2f} %",
          f"{100 * each['agreement']:.2f} %", str(len(each['ops_to_register']))]
         for each in files]) if files else NOT_RECORDED


TABLES = {'inference': inference}  # of docs/speed.md
DEPLOY_TABLES = {'deploy': deploy, 'micro': micro}  # of docs/deploy.md

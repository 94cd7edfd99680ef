"""Exported files in C++: accuracy, size and latency of each, in each runtime of label_image."""

import contextlib
import json
import os
import shutil
import tempfile
from typing import Any, Dict, List, Optional

from benchmarks import measure, runner
from benchmarks.runner import Options, graph_of
from permafrost import engines
from permafrost.cli.commands import ROOT
from permafrost.datasets import loading, record_format
from permafrost.errors import UserError, printable
from permafrost.evaluation.runtimes import client

MODELS = ('tuto', 'squeeze1', 'sprint', 'resnet20', 'xception_mini')  # in trained_models/
SETTINGS = ((1, 1), (1, 2), (32, 1), (32, 2))  # batch size, threads
RUNS, REPEATS = {1: 50, 32: 5}, 5  # timed runs of a batch size, in each of REPEATS turns
# The runtimes and files to compare. {} is the path without .pb.
FILES = {
    'tensorflow': '{}.pb', 'tensorflow/bfloat16': '{}.pb', 'openvino': '{}.pb',
    'openvino/bfloat16': '{}.pb', 'litert float16': '{}.float16.tflite',
    'litert': '{}.tflite', 'litert int8': '{}.int8.tflite',
    'onnxruntime': '{}.onnx', 'onnxruntime int8': '{}.int8.onnx', 'openvino int8': '{}.int8.onnx'}


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print the flags of each comparison, and return the result to record.

    `options.models` are models of trained_models/, or paths of frozen graphs.
    """
    graphs: Dict[str, str] = {}  # by name
    for model in options.models or MODELS:
        graph = model if model.endswith('.pb') else graph_of(model)
        name = os.path.basename(graph)[:-3]
        if not os.path.isfile(graph):
            raise UserError(f'{printable(graph)} does not exist: name another graph with --models')
        if name in graphs:
            raise UserError(f'{printable(graphs[name])} and {printable(graph)} have the same name: '
                            'rename one, or leave it out')
        graphs[name] = graph
    dataset = loading.open_dataset(options.dataset, options.data_dir)
    for environment in ('tf2', *client.RUNTIMES):
        client.python(environment)
    runner.build_label_image()
    rows: Dict[str, List[Dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        batch_file = os.path.join(folder, 'test.bin')
        with open(batch_file, 'wb') as stream:
            stream.write(record_format.encode(*loading.load(dataset, 'test')).tobytes())
        for name, graph in graphs.items():
            rows[name] = _measure(graph, folder, batch_file, options)
    return dict(measure.machine_facts(), models=rows, settings=SETTINGS, runs=RUNS, repeats=REPEATS,
                versions={'engine': engines.installed()})


def _measure(graph: str, folder: str, batch_file: str, options: Options) -> List[Dict[str, Any]]:
    """Return what is known of each of FILES, made from `graph`."""
    copy = shutil.copy(graph, folder)
    data_dir = ['--data_dir=' + options.data_dir] if options.data_dir else []
    runner.run_script(
        'freeze_graph.py', '--graph=' + copy, '--formats=tflite,onnx',
        '--quantize=none,float16,int8', '--dataset=' + options.dataset, *data_dir)
    paths = [pattern.format(copy[:-3]) for pattern in FILES.values()]
    compared = [f'{name.split()[0]}={path}' for name, path in zip(FILES, paths)]
    rows: List[Dict[str, Any]] = [  # ms: medians, by batch size and threads
        {'file': os.path.basename(path), 'correct_in_python': _correct(path), 'ms': {}}
        for path in paths]
    for batch_size, threads in SETTINGS:
        flags = [f'--batch_size={batch_size}', f'--threads={threads}', f'--repeats={REPEATS}',
                 f'--runs={RUNS[batch_size]}']
        if (batch_size, threads) == SETTINGS[-1]:
            flags.append('--batch_file=' + batch_file)
        for row, answer in zip(rows, _compare(compared, flags)):
            row.update({key: answer[key] for key in ('runtime', 'bytes', 'correct', 'images')
                        if key in answer})
            row['ms'][f'{batch_size} {threads}'] = round(answer['latency_ms']['median'], 4)
    return rows


def _correct(path: str) -> Optional[int]:
    """Return how many test images the file answers rightly in Python, by the json next to it."""
    with contextlib.suppress(FileNotFoundError), open(path + '.json') as stream:
        return json.load(stream)['correct']
    return None


def _compare(files: List[str], flags: List[str]) -> List[Dict[str, Any]]:
    libraries = [f"--library={os.path.join(ROOT, '.venv', name)}"
                 for name in ('tf2', *client.RUNTIMES)]
    output = runner.output_of(runner.LABEL_IMAGE, '--compare', '--json', *libraries, *flags, *files)
    print(' '.join(flags), flush=True)
    return json.loads(output)['models']

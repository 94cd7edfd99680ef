"""Latency of frozen graphs: label_image with each engine, and other runtimes, interleaved.

Only the network is timed, from floats at `inputs` to logits. Before that, the predictions of every
runtime for all test images, from the whole file, are compared with those of label_image.
"""

import contextlib
import json
import os
import tempfile
from functools import partial
from typing import Any, Callable, Dict, NamedTuple, Tuple

import numpy as np

from benchmarks import measure, runner
from benchmarks.runner import Options, graph_of
from permafrost import engines, machine
from permafrost.cli.commands import ROOT
from permafrost.datasets import loading, record_format
from permafrost.evaluation.runtimes import client

MODELS = ('squeeze1', 'nin2')
ENGINES = ('tf1', 'tf1-mkl', 'tf2')
REFERENCE = 'onnxruntime'
WARMUP = 10  # runs
SETTINGS = ((1, 1), (32, 1), (32, machine.cores()))  # batch size, threads
TRAIN_STEPS = 200  # of models that are not in trained_models/; weights do not affect the time
NODE = 'inputs'


class Setting(NamedTuple):
    """A graph and how it runs."""
    model: str
    batch_size: int
    threads: int

    def __str__(self) -> str:
        plural = 's' if self.threads > 1 else ''
        return f'{self.model}, batch {self.batch_size}, {self.threads} thread{plural}'


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print a table, and return the result to record."""
    dataset = loading.open_dataset(options.dataset, options.data_dir)
    runner.build_label_image()
    for engine in ENGINES:
        client.python(engine)
    seconds, figures = options.seconds / 8, {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        graphs = {model: _frozen_graph(model, folder, options)
                  for model in options.models or MODELS}
        runtimes = {name: stack.enter_context(client.runtime(name)) for name in client.RUNTIMES}
        versions = {name: other.version for name, other in runtimes.items()}
        settings = [Setting(model, *setting) for model in graphs for setting in SETTINGS]
        for model, graph in graphs.items():
            figures.update(_compare_predictions(model, graph, runtimes, dataset, folder))
        candidates: Dict[Tuple[Setting, str], Callable[[], float]] = {}
        for setting in settings:
            candidates.update(
                _candidates(setting, graphs[setting.model], runtimes, folder, seconds, versions))
        times = measure.interleave(candidates, options.rounds, 'round')
    for (setting, name), values in times.items():
        figures[f'{setting}: {name}'] = measure.measurement(values, 'ms')
    for setting in settings:
        best = min(ENGINES, key=lambda engine: np.median(times[setting, engine]))
        figures[f'{setting}: {best} by {REFERENCE}'] = measure.measurement(
            np.divide(times[setting, best], times[setting, REFERENCE]), 'x')
    measure.print_table(figures)
    return dict(measure.machine_facts(), versions=versions, rounds=options.rounds, seconds=seconds,
                node=NODE, figures=figures, graphs={
                    model: f'{TRAIN_STEPS} steps' if path.startswith(folder) else 'trained_models'
                    for model, path in graphs.items()})


def _frozen_graph(model, folder, options):
    """Return the path of a frozen graph: of trained_models/, or of a short training."""
    path = graph_of(model)
    if os.path.exists(path):
        return path
    print(f'training {model} for {TRAIN_STEPS} steps', flush=True)
    return runner.train_and_freeze(model, folder, options, f'--steps={TRAIN_STEPS}')


def _label_image(graph, engine, *arguments):
    """Return the json that label_image prints with the library of `engine`. Raises UserError."""
    return json.loads(runner.output_of(
        runner.LABEL_IMAGE, '--graph=' + graph,
        '--library=' + os.path.join(ROOT, '.venv', engine), '--json', *arguments))


def _compare_predictions(model, graph, runtimes, dataset, folder):
    """Count the test images for which each runtime's prediction differs from label_image's."""
    images, labels = loading.load(dataset, 'test')
    lines = os.path.join(folder, 'predictions')
    with open(os.path.join(folder, 'images.bin'), 'wb') as stream:
        stream.write(record_format.encode(images, labels).tobytes())
    _label_image(graph, 'tf2', '--batch_file=' + stream.name, '--predictions=' + lines)
    expected = np.loadtxt(lines, usecols=2, dtype=int)
    figures = {}
    for name, other in runtimes.items():
        logits = client.predict(other, convert(name, graph, 'images', folder), images)
        figures[f'{model} {name} different'] = measure.measurement(
            [np.sum(logits.argmax(1) != expected)], 'images')
    return figures


def _candidates(setting, graph, runtimes, folder, seconds, versions):
    """Return {(setting, name): function that returns the median latency in ms}."""
    flags = ['--benchmark', f'--node={NODE}', f'--batch_size={setting.batch_size}',
             f'--threads={setting.threads}', f'--warmup={WARMUP}', '--repeats=1']
    trial = _label_image(graph, 'tf2', '--runs=20', *flags)
    runs = max(20, int(1e3 * seconds / trial['latency_ms']['median']))

    def time_engine(engine):
        result = _label_image(graph, engine, f'--runs={runs}', *flags)
        versions[engine] = result['tensorflow']
        versions['label_image memory'] = result['allocator']
        return result['latency_ms']['median']

    size, key = trial['input_shape'][1], str(setting)
    for name, other in runtimes.items():
        other.ask(load=key, path=convert(name, graph, NODE, folder),
                  threads=setting.threads, shape=[setting.batch_size, size, size, 3])
    def time_runtime(name):
        return runtimes[name].ask(time=key, warmup=WARMUP, runs=runs)['median']

    return {(setting, name): partial(time_runtime if name in runtimes else time_engine, name)
            for name in ENGINES + tuple(runtimes)}


def convert(name: str, graph: str, node: str, folder: str) -> str:
    """Return the path of the frozen graph at `graph` for runtime `name`, fed at `node`.

    It is made once in `folder`: OpenVINO reads the part of the frozen graph after `node`.
    """
    stem = os.path.join(folder, f'{os.path.basename(graph)[:-3]}-{node}')
    output = stem + {'litert': '.tflite', 'onnxruntime': '.onnx', 'openvino': '.pb'}[name]
    if os.path.exists(output):  # for another batch size
        return output
    # Without engines.prepare(), because label_image would inherit the threads that it sets.
    with engines.held_stderr():
        from permafrost.evaluation.frozen_graphs import graph_def
        from permafrost.export.conversion import converters, network
    frozen = graph_def.read_graph(graph)
    if name == 'openvino':
        with open(output, 'wb') as stream:
            stream.write(network.extract(frozen, node, graph).SerializeToString())
    else:
        converters.convert(output.split('.')[-1], frozen, output, node=node, path=graph)
    return output

"""The cost of the input pipeline: training on a constant batch against training through it.

Both are timed in one process, interleaved. Also measured: the pipeline without training, and the
start-up time and memory of train.py.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from typing import Any, Dict

import numpy as np

from benchmarks import measure
from benchmarks.runner import Options
from benchmarks.runtimes import graphs
from permafrost import engines
from permafrost.cli.commands import ROOT
from permafrost.config import Config
from permafrost.datasets import loading, packing
from permafrost.errors import UserError
from permafrost.recipes import overrides

RECIPE = overrides.get_recipe('tutorial')
MODELS = ('tuto', 'alex4', 'nin2', 'squeeze1')
MIN_RATIO = .95  # of the speed on a constant batch
MIN_ALONE = 20000  # images/s
MAX_FIRST_STEP, MAX_MEMORY = 8., 1500.  # seconds, MB


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print a table, and return the result to record."""
    dataset = loading.open_dataset(options.dataset, options.data_dir)
    # Before this process grows: Linux counts the memory of the parent at the fork as the child's.
    starts = [_start(options) for _ in range((options.rounds + 1) // 2)]
    session_config = engines.prepare()
    figures = {}
    for model in options.models or MODELS:
        figures.update(_measure_training(model, dataset, options, session_config))
    figures.update(_measure_pipeline(dataset, options, session_config))
    seconds, memory = zip(*starts)
    figures['first step'] = measure.measurement(seconds, 's', MAX_FIRST_STEP, 'most')
    figures['peak memory'] = measure.measurement(memory, 'MB', MAX_MEMORY, 'most')
    measure.print_table(figures)
    return dict(measure.environment(), rounds=options.rounds, seconds=options.seconds,
                batch_size=RECIPE.batch_size, dataset=dataset.name, figures=figures)


def _start(options):
    """Run a short training; return the seconds until its first step, and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(
            [sys.executable, 'train.py', '--log_dir=' + folder, '--steps=30',
             *options.train_flags('tuto')], cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True) as process:
        output = process.stdout.read()
        _, process.returncode, usage = os.wait4(process.pid, 0)
    if process.returncode:
        raise UserError(f"train.py failed: {(output.splitlines() or ['no output'])[-1]}")
    # The largest resident set: Linux counts it in KiB, macOS in bytes.
    megabytes = usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024) / 1e6
    seconds = float(re.findall(r'first step after ([\d.]+) s', output)[0])
    print(f'first step after {seconds:.1f} s, peak memory {megabytes:.0f} MB', flush=True)
    return seconds, megabytes


def _measure_training(model, dataset, options, session_config):
    """Time training on a constant batch and through the pipeline."""
    from permafrost.inputs.pipeline import PREFETCH
    from permafrost.training.graph import build_train_graph

    def step(batches):
        graph = build_train_graph(Config(model, RECIPE, steps=1), len(dataset.classes), *batches)
        return graph.train, graph.step, graph.scalars  # what the loop and its hooks run

    with graphs.open_session(lambda: _batches(dataset), session_config) as (session, fetches):
        batch = session.run(fetches)
    # After that many steps every queue is as full as at the end of the round, so batches made
    # before it do not count. The other graph waits meanwhile, with full queues.
    warmup = 2 * PREFETCH
    with contextlib.ExitStack() as stack:
        steps = {}
        for name, build in (('constant', lambda: step(map(graphs.local_variable, batch))),
                            ('pipeline', lambda: step(_batches(dataset)))):
            session, fetches = stack.enter_context(graphs.open_session(build, session_config))
            steps[name] = partial(session.run, fetches)
            measure.rate(steps[name], min(options.seconds, 2.))  # warms up
        speeds = measure.interleave(
            {name: partial(_images_per_second, run, options.seconds, warmup)
             for name, run in steps.items()}, options.rounds, model)
        for name, run in steps.items():
            if not np.isfinite(run()[2]['loss']):
                raise UserError(f'{model} diverged on the {name} batch, so its speed means '
                                'nothing: run the benchmark again')
    ratios = np.divide(speeds['pipeline'], speeds['constant'])
    return {model + ' constant': measure.measurement(speeds['constant'], 'images/s'),
            model + ' pipeline': measure.measurement(speeds['pipeline'], 'images/s'),
            model + ' ratio': measure.measurement(ratios, '', MIN_RATIO)}


def _measure_pipeline(dataset, options, session_config):
    """Time the pipeline without training, from each source and from TFRecords."""
    from permafrost.inputs import pipeline
    warmup = 64  # more than all queues hold: only batches made during the round count
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        packing.write(folder, dataset.classes, {'train': loading.load(dataset, 'train')})
        inputs = {source: (dataset, source) for source in pipeline.SOURCES}
        inputs['tfrecords'] = loading.open_dataset(folder), 'stream'
        candidates = {}
        for name, arguments in inputs.items():
            # The operation makes the batch without copying it to Python.
            session, fetches = stack.enter_context(graphs.open_session(
                lambda pair=arguments: _batches(*pair)[0].op, session_config))
            candidates[name] = partial(_images_per_second, partial(session.run, fetches),
                                       min(options.seconds, 4.), warmup)
        speeds = measure.interleave(candidates, options.rounds, 'pipeline alone')
    return {'alone, ' + name: measure.measurement(values, 'images/s', MIN_ALONE)
            for name, values in speeds.items()}


def _images_per_second(run, seconds, warmup):
    return RECIPE.batch_size * measure.rate(run, seconds, warmup)


def _batches(dataset, source='memory'):
    import tensorflow.compat.v1 as tf

    from permafrost.inputs import pipeline
    config = Config('tuto', RECIPE, steps=1, dataset=dataset.name, source=source)
    return pipeline.training_batches(dataset, config, tf.train.get_or_create_global_step())

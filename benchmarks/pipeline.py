"""The cost of the input pipeline: training on a constant batch against training through it.

Both are timed in one process, interleaved. Also measured: the pipeline without training, matrix
products in the same minutes, and the start-up time and memory of train.py.
"""

import contextlib
import re
import tempfile
from typing import Any, Callable, Dict

import numpy as np

from benchmarks import graphs, measure
from benchmarks.runner import Options
from permafrost import runtime
from permafrost.config import Config
from permafrost.datasets import loading, packing
from permafrost.errors import UserError
from permafrost.recipes import overrides

MODELS = ('tuto', 'alex4', 'nin2', 'squeeze1')
ROUNDS = 8
MIN_RATIO = .95  # of the speed on a constant batch
MIN_ALONE = 20000  # images/s
MAX_FIRST_STEP, MAX_MEMORY = 8., 1500.  # seconds, MB
# Images/s of tuto through the pipeline on a machine that multiplies matrices at PEAK GFLOP/s.
MIN_TUTO, PEAK = 850, 196.


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print a table, and return the result to record."""
    dataset = loading.open_dataset(options.dataset, options.data_dir)
    rounds = options.rounds or ROUNDS
    start_up = _measure_start_up(options, (rounds + 1) // 2)  # first: see measure.train
    session_config = runtime.prepare()
    timer = _Timer(dataset, session_config, rounds, options.seconds)
    with graphs.runner(graphs.matrix_product, session_config) as product:
        peak = measure.PeakMeter({'engine': product, 'numpy': graphs.numpy_product()},
                                 options.seconds)
        figures = {}
        for model in options.models or MODELS:
            figures.update(timer.training(model, peak))
        figures.update(timer.pipeline_alone())
    products = {name: measure.measurement(values, 'GFLOP/s')
                for name, values in peak.gflops.items()}
    scale = max(value['median'] for value in products.values()) / PEAK
    tuto = figures.get('tuto pipeline')
    if tuto and runtime.installed() != 'tf1':
        tuto.update(measure.measurement(tuto['values'], tuto['unit'], MIN_TUTO * min(1., scale)))
    figures.update({f'matrix product, {name}': value for name, value in products.items()})
    figures.update(start_up)
    print('\n'.join(measure.table(figures)), flush=True)
    return dict(measure.environment(), rounds=rounds, seconds=options.seconds, scale=scale,
                batch_size=len(timer.batch[0]), dataset=dataset.name, figures=figures)


class _Timer:
    """Times training and the pipeline of one dataset. `batch` is a preprocessed batch of it."""

    def __init__(self, dataset: loading.Dataset, session_config: Any, rounds: int, seconds: float):
        self._dataset, self._session_config = dataset, session_config
        self._rounds, self._seconds = rounds, seconds
        with self._runner(lambda: self._batches('tuto', dataset)) as run:
            self.batch = run()

    def training(self, model: str, peak: Callable[[], float]) -> Dict[str, measure.Measurement]:
        """Time training on the constant batch and through the pipeline."""
        from permafrost.inputs.pipeline import PREFETCH
        from permafrost.training.graph import build_train_graph

        def step(batches):
            graph = build_train_graph(self._config(model, self._dataset),
                                      len(self._dataset.classes), *batches)
            return graph.train, graph.step, graph.scalars  # what the loop and its hooks run

        # After that many steps every queue is as full as at the end of the round, so batches made
        # before it do not count. The other graph waits meanwhile, with full queues.
        warmup = 2 * PREFETCH
        with contextlib.ExitStack() as stack:
            steps = {name: stack.enter_context(self._runner(build)) for name, build in {
                'constant': lambda: step(map(graphs.local_variable, self.batch)),
                'pipeline': lambda: step(self._batches(model, self._dataset))}.items()}
            for run in steps.values():
                measure.rate(run, min(self._seconds, 2.))  # warms up
            candidates = {name: self._images_per_second(run, self._seconds, warmup)
                          for name, run in steps.items()}
            speeds = measure.interleave(dict(candidates, product=peak), self._rounds, model)
            for name, run in steps.items():
                if not np.isfinite(run()[2]['loss']):
                    raise UserError(f'{model} diverged on the {name} batch, so its speed means '
                                    'nothing: run the benchmark again')
        ratios = np.divide(speeds['pipeline'], speeds['constant'])
        return {model + ' constant': measure.measurement(speeds['constant'], 'images/s'),
                model + ' pipeline': measure.measurement(speeds['pipeline'], 'images/s'),
                model + ' ratio': measure.measurement(ratios, '', MIN_RATIO)}

    def pipeline_alone(self) -> Dict[str, measure.Measurement]:
        """Time the pipeline without training, from each source and from TFRecords."""
        from permafrost.inputs import pipeline
        warmup = 64  # more than all queues hold: only batches made during the round count
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            packing.write(folder, self._dataset.classes,
                          {'train': loading.load(self._dataset, 'train')})
            inputs = {source: (self._dataset, source) for source in pipeline.SOURCES}
            inputs['tfrecords'] = loading.open_dataset(folder), 'stream'
            # The operation makes the batch without copying it to Python.
            candidates = {name: self._images_per_second(stack.enter_context(self._runner(
                lambda pair=pair: self._batches('tuto', *pair)[0].op)),
                min(self._seconds, 4.), warmup) for name, pair in inputs.items()}
            speeds = measure.interleave(candidates, self._rounds, 'pipeline alone')
        return {'alone, ' + name: measure.measurement(values, 'images/s', MIN_ALONE)
                for name, values in speeds.items()}

    def _images_per_second(self, run, seconds, warmup):
        return lambda: len(self.batch[0]) * measure.rate(run, seconds, warmup)

    def _runner(self, build):
        return graphs.runner(build, self._session_config)

    def _batches(self, model, dataset, source='memory'):
        import tensorflow.compat.v1 as tf
        from permafrost.inputs import pipeline
        return pipeline.training_batches(dataset, self._config(model, dataset, source),
                                         tf.train.get_or_create_global_step())

    @staticmethod
    def _config(model, dataset, source='memory'):
        return Config(model=model, recipe=overrides.get_recipe('tutorial'), steps=1,
                      dataset=dataset.name, source=source)


def _measure_start_up(options, times):
    """Measure the seconds until the first step of train.py, and its peak memory."""
    seconds, memory = [], []
    for number in range(1, times + 1):
        child = measure.train(options.train_flags('tuto') + ['--steps=30'])
        seconds.append(float(re.findall(r'first step after ([\d.]+) s', child.output)[0]))
        memory.append(child.peak_memory)
        print(f'start {number}/{times}: {seconds[-1]:.1f} s, {memory[-1]:.0f} MB', flush=True)
    return {'first step': measure.measurement(seconds, 's', MAX_FIRST_STEP, at_least=False),
            'peak memory': measure.measurement(memory, 'MB', MAX_MEMORY, at_least=False)}

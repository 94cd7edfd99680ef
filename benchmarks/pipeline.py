"""What the input pipeline costs: training on a constant batch against training through it.

The time of both is taken in one process, in turn. Beside them: the pipeline alone, the peak of
the machine's matrix product in the same minutes, start-up and memory of train.py.
"""

import contextlib
import re
import tempfile

import numpy as np

from benchmarks.peers import serve
from benchmarks import graphs, measure
from permafrost import runtime
from permafrost.config import Config
from permafrost.datasets import loading, packing
from permafrost.errors import UserError
from permafrost.recipes import overrides

MODELS = ('tuto', 'alex4', 'nin2', 'squeeze1')
ROUNDS = 8
TUTO = {'tf1-mkl': 850, 'tf2': 850}  # images/s wanted through the pipeline at PEAK
# Images/s on a constant batch in the table of the design, on two 2.5 GHz Cascade Lake cores
# whose matrix product reached 175 to 218 GFLOP/s.
TABLE = {'tf1': {'tuto': 432, 'squeeze1': 626}, 'tf1-mkl': {'tuto': 688, 'squeeze1': 1057},
         'tf2': {'tuto': 981, 'squeeze1': 1500}}
PEAK = 196.


def benchmark(options):
    """Measures, prints a table, returns what to record."""
    dataset = loading.open_dataset(options.dataset, options.data_dir)
    rounds = options.rounds or ROUNDS
    started = _starts(options, (rounds + 1) // 2)  # first: see measure.train
    session_config = runtime.prepare()
    figures, peaks = {}, {'engine': [], 'numpy': []}
    with graphs.runner(graphs.product, session_config) as product:
        products = {'engine': product, 'numpy': graphs.numpy_product()}

        def peak():
            for name, product in products.items():
                calls = measure.rate(product, min(options.seconds, .4))
                peaks[name].append(calls * 2e-9 * serve.SIDE ** 3)
            return max(values[-1] for values in peaks.values())

        batch = _batch(dataset, session_config)
        for model in options.models or MODELS:
            figures.update(_training(model, dataset, batch, session_config, rounds,
                                     options.seconds, peak))
        figures.update(_alone(dataset, session_config, rounds, options.seconds))
    for name, values in peaks.items():
        figures['matrix product, %s' % name] = measure.figure(values, 'GFLOP/s')
    figures.update(started)
    found = dict(measure.circumstances(), rounds=rounds, seconds=options.seconds,
                 batch_size=len(batch[0]), dataset=dataset.name, figures=figures)
    _compare(found)
    print('\n'.join(measure.table(figures)), flush=True)
    return found


def _compare(found):
    """Sets the speeds beside the design's, scaled to what the machine reached meanwhile.

    That is the faster of two matrix products: tf1-mkl's is slow on processors not Intel's.
    """
    figures, name = found['figures'], found['engine']
    peak = max((figures['matrix product, ' + which] for which in ('engine', 'numpy')),
               key=lambda product: product['median'])
    found['scale'] = scale = peak['median'] / PEAK
    peak['note'] = '%.2f of the %.0f of the design' % (scale, PEAK)
    for model, speed in TABLE[name].items():
        if model + ' constant' in figures:
            constant = figures[model + ' constant']
            constant['note'] = 'design: %d, scaled %.0f; this is %.2f of that' % (
                speed, speed * scale, constant['median'] / (speed * scale))
    if name in TUTO and 'tuto pipeline' in figures:
        through = figures['tuto pipeline']
        through.update(measure.figure(through['values'], through['unit'],
                                      TUTO[name] * min(1., scale)))


def _settings(model, dataset, source='memory'):
    return Config(model=model, recipe=overrides.get_recipe('tutorial'), steps=1,
                  dataset=dataset.name, source=source)


def _training(model, dataset, batch, session_config, rounds, seconds, peak):
    """Figures of training `model`: on the constant `batch`, through the pipeline, and ratio."""
    import tensorflow.compat.v1 as tf
    from permafrost.inputs.pipeline import PREFETCH, training_batches
    from permafrost.training.graph import build_train_graph
    settings = _settings(model, dataset)

    def step(batches):
        graph = build_train_graph(settings, len(dataset.classes), *batches)
        return graph.train, graph.step, graph.scalars  # what the loop and its hooks run

    def constant():
        return step([graphs.local(array) for array in batch])

    def pipeline():
        return step(training_batches(dataset, settings,
                                            tf.train.get_or_create_global_step()))

    # Every queue is as full after these steps as it will be at the end of the round, so
    # batches made before do not count. The other graph waits, with full queues, meanwhile.
    settle = 2 * PREFETCH
    with contextlib.ExitStack() as stack:
        runs = {name: stack.enter_context(graphs.runner(build, session_config))
                for name, build in (('constant', constant), ('pipeline', pipeline))}
        for run in runs.values():
            measure.rate(run, min(seconds, 2.))  # warms up
        speeds = measure.in_turn(
            dict({name: lambda run=run: len(batch[0]) * measure.rate(run, seconds, settle)
                  for name, run in runs.items()}, product=peak),
            rounds, lambda text: print(model + ' ' + text, flush=True))
        for name, run in runs.items():
            if not np.isfinite(run()[2]['loss']):
                raise UserError('%s diverged on the %s batch: its speed means nothing' % (
                    model, name))
    ratios = [p / c for p, c in zip(speeds['pipeline'], speeds['constant'])]
    return {model + ' constant': measure.figure(speeds['constant'], 'images/s'),
            model + ' pipeline': measure.figure(speeds['pipeline'], 'images/s'),
            model + ' ratio': measure.figure(ratios, '', .95)}


def _alone(dataset, session_config, rounds, seconds):
    """Figures of the pipeline without training, from each source, and from TFRecords."""
    import tensorflow.compat.v1 as tf
    from permafrost.inputs import pipeline

    def dequeue(of, source):
        images, _ = pipeline.training_batches(of, _settings('tuto', of, source),
                                            tf.train.get_or_create_global_step())
        return images.op  # makes the batch, without copying it to Python

    settle = 64  # more than all queues hold: only what is made during the round counts
    batch_size = _settings('tuto', dataset).recipe.batch_size
    with contextlib.ExitStack() as stack:
        packed = _packed(dataset, stack.enter_context(tempfile.TemporaryDirectory()))
        wanted = dict({source: (dataset, source) for source in pipeline.SOURCES},
                      tfrecords=(packed, 'stream'))
        runs = {name: stack.enter_context(graphs.runner(lambda w=what: dequeue(*w),
                                                        session_config))
                for name, what in wanted.items()}
        speeds = measure.in_turn(
            {source: lambda run=run: batch_size * measure.rate(run, min(seconds, 4.), settle)
             for source, run in runs.items()},
            rounds, lambda text: print('pipeline alone ' + text, flush=True))
    return {'alone, %s' % source: measure.figure(values, 'images/s', 20000)
            for source, values in speeds.items()}


def _packed(dataset, folder):
    """The training images of `data_set` as TFRecords, which the stream source reads."""
    packing.write(folder, dataset.classes, {'train': loading.load(dataset, 'train')})
    return loading.open_dataset(folder)


def _batch(dataset, session_config):
    """One real batch, preprocessed: float32 [B, h, w, 3] and int64 [B] arrays."""
    import tensorflow.compat.v1 as tf
    from permafrost.inputs import pipeline
    with graphs.runner(lambda: pipeline.training_batches(
            dataset, _settings('tuto', dataset), tf.train.get_or_create_global_step()),
                       session_config) as run:
        return run()


def _starts(options, times):
    """Figures of starting train.py: seconds to the first step, peak memory."""
    arguments = ['--model=tuto', '--steps=30', '--data_set=' + options.dataset]
    arguments += ['--data_dir=' + options.data_dir] if options.data_dir else []
    seconds, memory = [], []
    for number in range(times):
        child = measure.train(arguments)
        seconds.append(float(re.search(r'first step after ([\d.]+) s', child.output).group(1)))
        memory.append(child.memory)
        print('start %d/%d: %.1f s, %.0f MB' % (number + 1, times, seconds[-1], memory[-1]),
              flush=True)
    return {'first step': measure.figure(seconds, 's', 8., least=False),
            'peak memory': measure.figure(memory, 'MB', 1500., least=False)}

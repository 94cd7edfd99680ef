"""Frozen graphs in label_image on each engine, and in what else runs them, in turn.

The network alone is timed: floats in at `inputs`, logits out. That everybody computes the same is
seen on the whole files: the predictions for all test images, from decoded ones, are compared.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks import measure, peers
from permafrost import runtime
from permafrost.datasets import loading, record_format
from permafrost.errors import UserError

MODELS = ('squeeze1', 'nin2')
ENGINES = ('tf1', 'tf1-mkl', 'tf2')
REFERENCE = 'onnxruntime'
ROUNDS = 8
WARMUP = 10  # runs before those that count
# (batch size, threads)
SETTINGS = ((1, 1), (32, 1), (32, 0))  # 0: all processors
# At most this often the reference's median, for the best of our engines.
TARGETS = {('squeeze1', 1, 1): 1.2, ('nin2', 1, 1): 1., ('squeeze1', 32, 1): 1.,
           ('nin2', 32, 1): 1.}
STEPS = 200  # of models that are not in trained_models/
DIFFERENT = 5  # predictions of 10,000 that may differ
NODE = 'inputs'


def benchmark(options):
    """Measures, prints a table, returns what to record."""
    dataset = loading.open_dataset(options.dataset, options.data_dir)
    if subprocess.call(['make', '-s', '-C', 'label_image'], cwd=measure.ROOT):
        raise UserError('label_image was not built: see above')
    for name in ENGINES:
        peers.python(name)
    seconds = options.seconds / 8
    figures, versions = {}, {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        graphs = {model: _graph(model, folder) for model in options.models or MODELS}
        running = {name: stack.enter_context(peers.Peer(name)) for name in peers.PEERS}
        for model, graph in graphs.items():
            figures.update(_agreement(model, graph, running, dataset, folder))
        runners = [_runners(model, graph, batch, threads or runtime.cores(), running, folder,
                            seconds, versions)
                   for model, graph in graphs.items() for batch, threads in SETTINGS]
        times = measure.in_turn(
            {key: run for part in runners for key, run in part.items()},
            options.rounds or ROUNDS, lambda text: print('round ' + text.split(':')[0], flush=True))
        versions.update((name, peer.version) for name, peer in running.items())
    for key, values in times.items():
        figures[_title(key)] = measure.figure(values, 'ms')
    ratios, text = {}, []
    for model in graphs:
        for batch, threads in SETTINGS:
            setting = model, batch, threads or runtime.cores()
            text += _rows(setting, times)
            ratios.update(_ratio(setting, times, TARGETS.get((model, batch, threads))))
    different = {name: found for name, found in figures.items() if 'different' in name}
    print('\n'.join(text + [''] + measure.table(dict(ratios, **different))), flush=True)
    return dict(measure.machine(), versions=versions, rounds=options.rounds or ROUNDS,
                seconds=seconds, node=NODE, figures=dict(figures, **ratios),
                graphs={model: 'trained_models' if path.startswith(measure.ROOT) else
                        '%d steps' % STEPS for model, path in graphs.items()})


def _graph(model, folder):
    """The path of a frozen graph of `model`: of trained_models/, or of a short training.

    What the weights are does not matter to the time a run takes.
    """
    path = os.path.join(measure.ROOT, 'trained_models', model + '.pb')
    if os.path.exists(path):
        return path
    print('there is no trained_models/%s.pb: training %d steps' % (model, STEPS), flush=True)
    run, path = os.path.join(folder, model), os.path.join(folder, model + '.pb')
    for command in (['train.py', '--model=' + model, '--steps=%d' % STEPS, '--run=' + run],
                    ['freeze_graph.py', '--run=' + run, '--output=' + path]):
        done = subprocess.run([sys.executable] + command, cwd=measure.ROOT,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, universal_newlines=True)
        if done.returncode:
            raise UserError('%s: %s' % (command[0], done.stdout.strip().splitlines()[-1]))
    return path


def _label_image(graph, name, *arguments):
    """What label_image with the library of engine `name` says in JSON. Raises UserError."""
    done = subprocess.run(
        [os.path.join(measure.ROOT, 'label_image', 'build', 'label_image'), '--graph=' + graph,
         '--library=' + os.path.join(measure.ROOT, '.venv', name), '--json'] + list(arguments),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    if done.returncode:
        raise UserError(done.stderr.strip() or 'label_image: code %d' % done.returncode)
    return json.loads(done.stdout)


def _agreement(model, graph, running, dataset, folder):
    """Figures: predictions of each peer for the test images that differ from ours (tf2's)."""
    images, labels = loading.load(dataset, 'test')
    source, lines = os.path.join(folder, 'images.npy'), os.path.join(folder, 'predictions')
    np.save(source, images)
    with open(os.path.join(folder, 'images.bin'), 'wb') as stream:
        stream.write(record_format.encode(images, labels).tobytes())
    _label_image(graph, 'tf2', '--batch_file=' + stream.name, '--predictions=' + lines)
    ours = np.loadtxt(lines, usecols=2, dtype=int)
    whole = shutil.copy(graph, os.path.join(folder, model + '-images.pb'))
    figures = {}
    for name, peer in running.items():
        output = os.path.join(folder, 'predicted.npy')
        peer.ask(predict=peers.convert(name, whole, 'images', images.shape[1], folder),
                 images=source, output=output, batch_size=100)
        different = int(np.sum(np.load(output) != ours))
        print('%s in %s: %d of %d predictions different from ours' % (
            model, name, different, len(images)), flush=True)
        figures['%s %s different' % (model, name)] = measure.figure(
            [different], 'images', DIFFERENT, least=False)
    return figures


def _runners(model, graph, batch, threads, running, folder, seconds, versions):
    """{(model, batch, threads, contestant): function that gives the median latency in ms}."""
    timing = ['--benchmark', '--node=' + NODE, '--batch_size=%d' % batch,
              '--threads=%d' % threads, '--warmup=%d' % WARMUP, '--repeats=1']
    first = _label_image(graph, 'tf2', '--runs=20', *timing)
    runs = max(20, int(1e3 * seconds / first['latency_ms']['median']))
    found = {}
    for name in ENGINES:
        def ours(name=name):
            said = _label_image(graph, name, '--runs=%d' % runs, *timing)
            versions[name] = said['tensorflow']
            versions['label_image memory'] = said['allocator']
            return said['latency_ms']['median']
        found[model, batch, threads, name] = ours
    size = first['input_shape'][1]
    cut = os.path.join(folder, model + '-inputs.pb')
    if not os.path.exists(cut):
        _cut(graph, size, cut)
    for name, peer in running.items():
        key = '%s %d %d' % (model, batch, threads)
        peer.ask(load=key, path=peers.convert(name, cut, NODE, size, folder), threads=threads,
                 shape=[batch, size, size, 3])
        found[model, batch, threads, name] = lambda peer=peer, key=key: peer.ask(
            time=key, warmup=WARMUP, runs=runs)['median']
    return found


def _cut(graph, size, output):
    """Writes the part of `graph` from NODE, as floats [N, size, size, 3], to its logits."""
    # Not engine.prepare(): label_image would inherit the threads that it sets.
    with runtime.held_stderr():
        from permafrost.evaluation import graph_def
    part = graph_def.extract_subgraph(graph_def.read_graph(graph), ['predictions'], [NODE])
    for node in part.node:
        if node.name == NODE:
            for side in (-1, size, size, 3):
                node.attr['shape'].shape.dim.add(size=side)
    with open(output, 'wb') as stream:
        stream.write(part.SerializeToString())


def _title(key):
    return '%s, batch %d, %d thread%s: %s' % (key[:3] + ('' if key[2] == 1 else 's',) + key[3:])


def _best(setting, times):
    return min(ENGINES, key=lambda name: np.median(times[setting + (name,)]))


def _rows(setting, times):
    """Lines: medians and quartiles of all contestants, and the ratio to the reference."""
    lines = ['%s, batch %d, %d thread%s' % (setting + ('' if setting[2] == 1 else 's',))]
    reference = times[setting + (REFERENCE,)]
    for name in ENGINES + tuple(peers.PEERS):
        values = times[setting + (name,)]
        lines.append('  %-12s %8.3f ms  %8.3f to %8.3f  %6.2f x' % (
            (name,) + tuple(np.percentile(values, [50, 25, 75])) +
            (np.median(np.divide(values, reference)),)))
    return lines


def _ratio(setting, times, target):
    """The best engine's time by the reference's of the same round."""
    best = _best(setting, times)
    ratio = np.divide(times[setting + (best,)], times[setting + (REFERENCE,)])
    return {'%s, batch %d, %d threads: %s by %s' % (setting + (best, REFERENCE)):
            measure.figure(ratio, 'x', target, least=False)}

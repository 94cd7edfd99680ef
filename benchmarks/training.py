"""Forward, backward and whole steps of training on each engine and in PyTorch, interleaved.

Each candidate trains on one batch in a process of its own; benchmarks/runtimes/server.py defines
the three. PyTorch has five of the networks: with as many parameters and, from the same weights, the
same logits, which is checked first. The fastest matrix product is the machine's peak.
"""

import contextlib
import os
import tempfile
from functools import partial
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from benchmarks import measure
from benchmarks.runner import Options
from benchmarks.runtimes import client, server
from permafrost import runtime
from permafrost.errors import UserError
from permafrost.evaluation.runtimes import client as runtime_client
from permafrost.recipes import catalog, durations, overrides

ENGINES = ('tf1', 'tf1-mkl', 'tf2')
PYTORCH = 'pytorch'
BFLOAT16 = ('tf2-bfloat16', 'pytorch-bfloat16')  # if the processor has it; the others: float32
NETWORKS = ('davidnet', 'resnet20', 'vgg_bn_drop', 'tuto', 'sprint')  # that PyTorch has too
KINDS = ('forward', 'backward', 'step')
PRODUCT = 'product'
SLOW_SECS = 1.  # a slower run needs no warm-up
MIN_RATIO, MIN_PEAK_SHARE = 1.4, .8
MAX_DIFFERENCE = 1e-3  # of logits, relative to the largest


class Result(NamedTuple):
    """The measurements of one network."""
    network: Dict[str, Any]  # facts
    # Of each round of a (name, kind): images/s, and GFLOP/s of the kind PRODUCT.
    speeds: Dict[Tuple[str, str], List[float]]

    @property
    def best(self) -> str:
        """The engine whose steps are fastest."""
        return max(ENGINES, key=lambda engine: np.median(self.speeds[engine, 'step']))

    def ratio(self, kind: str, name: str, reference: str = PYTORCH) -> np.ndarray:
        """Return the speed divided by the reference's in the same round."""
        return np.divide(self.speeds[name, kind], self.speeds[reference, kind])

    def peak_share(self, name: str) -> np.ndarray:
        """Return the share of the peak of the same round that whole steps reach."""
        peak = np.max([values for key, values in self.speeds.items() if key[1] == PRODUCT], 0)
        return np.multiply(self.speeds[name, 'step'], self.network['training_ops']) / (1e9 * peak)


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print a table, and return the result to record."""
    models = options.models or list(NETWORKS)
    names = list(ENGINES) + [PYTORCH] * bool(set(models) & set(NETWORKS))
    names += [name for name in BFLOAT16
              if runtime.has_bfloat16('tf2') and name.split('-')[0] in names]
    for name in names:
        runtime_client.python(client.SERVERS[name].environment)
    _compare_logits([model for model in models if model in NETWORKS])
    results: Dict[str, Result] = {}
    versions: Dict[str, str] = {}
    for model in models:
        with contextlib.ExitStack() as stack:  # new processes: MKL's never return memory
            runtimes = {name: stack.enter_context(client.start(name)) for name in names
                        if PYTORCH not in name or model in NETWORKS}
            versions.update((name, each.version) for name, each in runtimes.items())
            results[model] = _measure(model, runtimes, options.seconds / 8, options.rounds)
    figures: Dict[str, measure.Measurement] = {}
    for name in names + ['numpy']:
        gflops = [value for result in results.values()
                  for value in result.speeds.get((name, PRODUCT), [])]
        figures[f'matrix product, {name}'] = measure.measurement(gflops, 'GFLOP/s')
    for model, result in results.items():
        figures.update(_figures(model, result))
    if set(results) >= set(NETWORKS):
        figures['five networks, step: best engine by pytorch'] = mean_ratio(results)
    measure.print_table(figures)
    return dict(measure.machine(), versions=versions, seconds=options.seconds / 8, figures=figures,
                networks={model: result.network for model, result in results.items()})


def training_ops(layers: Sequence[Dict[str, Any]]) -> int:
    """Return the operations, 2 per multiply-accumulate, of training on one image.

    Each layer has one product forward, one for the gradient of its weights, unless they are fixed,
    and one for the gradient of its input, unless no layer before it is trained.
    """
    ops, trained_before = 0, False
    for layer in layers:
        fixed = layer['kind'] == 'whiten'  # its weights, but not its biases
        trained = layer['params'] > 0 and not fixed
        ops += 2 * layer['macs'] * (1 + trained + trained_before)
        trained_before = trained_before or trained or fixed and layer['ops'] > 2 * layer['macs']
    return ops


def _compare_logits(models):
    """Raise UserError if PyTorch's logits differ from TensorFlow's."""
    if not models:
        return
    with tempfile.TemporaryDirectory() as folder, client.start('tf2') as engine, \
            client.start(PYTORCH) as pytorch:
        path = os.path.join(folder, 'weights.npz')
        for model in models:
            engine.ask(logits=model, path=path, image_size=catalog.image_size(model))
            difference = pytorch.ask(logits=model, path=path)['difference']
            if not difference <= MAX_DIFFERENCE:
                raise UserError(f'{model} in benchmarks/runtimes/torch_networks.py is another '
                                f'network: its logits differ by {difference:g} of the largest')


def _measure(model, runtimes, seconds, rounds):
    recipe = overrides.get_recipe(catalog.default_recipe(model))
    batch = {'batch_size': recipe.batch_size, 'image_size': recipe.image_size}
    facts = {name: each.ask(load=model, compute_dtype='bfloat16' if name in BFLOAT16 else 'float32',
                            **batch) for name, each in runtimes.items()}
    params = facts[ENGINES[0]]['params']
    for name in runtimes:
        if facts[name]['params'] != params:
            raise UserError(f"{model} has {facts[name]['params']} parameters in {name}, {params} "
                            f'in {ENGINES[0]}: it is not the same network')

    def run(name, kind):
        if not np.isfinite(runtimes[name].ask(run=kind)['loss']):
            raise UserError(f'{model} diverged in {name}, so its speed means nothing: run the '
                            'benchmark again')

    def images_per_second(name, kind, warmup):
        return batch['batch_size'] * measure.rate(partial(run, name, kind), seconds, warmup)

    def gflops(product):
        return 2e-9 * server.SIDE ** 3 * measure.rate(product, min(seconds, .4))

    candidates = {}
    for kind in KINDS:
        for name in runtimes:
            run_secs = 1 / measure.rate(partial(run, name, kind), 0., 0)  # warms up
            candidates[name, kind] = partial(images_per_second, name, kind,
                                             warmup=1 if run_secs < SLOW_SECS else 0)
    for name, each in runtimes.items():
        candidates[name, PRODUCT] = partial(gflops, partial(each.ask, run=PRODUCT))
    candidates['numpy', PRODUCT] = partial(gflops, partial(np.matmul, *server.matrices()))
    network = dict(batch, params=params, macs=facts[ENGINES[0]]['macs'], rounds=rounds,
                   training_ops=training_ops(facts[ENGINES[0]]['layers']),
                   images=durations.num_steps(recipe) * recipe.batch_size)
    return Result(network, measure.interleave(candidates, rounds, model))


def _figures(model, result):
    best = result.best
    figures = {f'{model} {kind}: {name}': measure.measurement(values, 'images/s')
               for (name, kind), values in result.speeds.items() if kind in KINDS}
    if model in NETWORKS:
        for kind in KINDS:
            figures[f'{model} {kind}: {best} by {PYTORCH}'] = measure.measurement(
                result.ratio(kind, best), 'x')
    figures[f'{model} step: {best}, of the peak'] = measure.measurement(
        result.peak_share(best), '', MIN_PEAK_SHARE if model == 'davidnet' else None)
    for name in (best, PYTORCH) + BFLOAT16:
        if (name, 'step') in result.speeds:
            minutes = result.network['images'] / np.array(result.speeds[name, 'step']) / 60
            figures[f'{model}, its whole recipe: {name}'] = measure.measurement(minutes, 'minutes')
    return figures


def mean_ratio(results: Dict[str, Result]) -> measure.Measurement:
    """Return the geometric mean, over NETWORKS, of the best engine's median ratio to PyTorch."""
    ratios = [np.median(results[model].ratio('step', results[model].best)) for model in NETWORKS]
    return measure.measurement([float(np.exp(np.mean(np.log(ratios))))], 'x', MIN_RATIO)

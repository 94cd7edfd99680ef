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

from benchmarks import graphs, measure
from benchmarks.runner import Options
from benchmarks.runtimes import client
from permafrost import runtime
from permafrost.errors import UserError
from permafrost.recipes import catalog, durations, overrides

ENGINES = ('tf1', 'tf1-mkl', 'tf2')
PYTORCH = 'pytorch'
BFLOAT16 = ('tf2-bfloat16', 'pytorch-bfloat16')  # if the processor has it; the others: float32
NETWORKS = ('davidnet', 'resnet20', 'vgg_bn_drop', 'tuto', 'sprint')  # that PyTorch has too
KINDS = ('forward', 'backward', 'step')
MIN_ROUNDS, MAX_ROUNDS = 3, 8  # unless --rounds is given
OTHER_ROUNDS = 2  # of networks that PyTorch does not have
MODEL_SECS = 90.  # in which the rounds of a network should fit
SLOW_SECS = 1.  # a slower run needs no warm-up
MIN_RATIO, MIN_PEAK_SHARE = 1.4, .8
MAX_DIFFERENCE = 1e-3  # of logits, relative to the largest


class Result(NamedTuple):
    """The measurements of one network."""
    network: Dict[str, Any]  # facts
    speeds: Dict[Tuple[str, str], List[float]]  # images/s of each round of a (name, kind)
    peak: List[float]  # operations/s of each round

    @property
    def best(self) -> str:
        """The engine whose steps are fastest."""
        return max(ENGINES, key=lambda engine: np.median(self.speeds[engine, 'step']))

    def ratio(self, kind: str, name: str, reference: str = PYTORCH) -> np.ndarray:
        """Return the speed divided by the reference's in the same round."""
        return np.divide(self.speeds[name, kind], self.speeds[reference, kind])

    def peak_share(self, name: str) -> np.ndarray:
        """Return the share of the peak of the same round that whole steps reach."""
        ops = np.multiply(self.speeds[name, 'step'], self.network['training_ops'])
        return np.divide(ops, self.peak)


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print a table, and return the result to record."""
    models = options.models or list(NETWORKS)
    seconds = options.seconds / 8
    names = list(ENGINES) + [PYTORCH] * bool(set(models) & set(NETWORKS))
    names += [name for name in BFLOAT16
              if runtime.has_bfloat16('tf2') and name.split('-')[0] in names]
    for name in names:
        client.python(client.SERVERS[name].environment)
    _compare_logits([model for model in models if model in NETWORKS])
    results: Dict[str, Result] = {}
    gflops: Dict[str, List[float]] = {}
    versions: Dict[str, str] = {}
    for model in models:
        with contextlib.ExitStack() as stack:  # new processes: MKL's never return memory
            runtimes = {name: stack.enter_context(client.Runtime(name)) for name in names
                        if PYTORCH not in name or model in NETWORKS}
            versions.update((name, each.version) for name, each in runtimes.items())
            products = {name: lambda each=each: each.ask(run='product')
                        for name, each in runtimes.items()}
            peak = measure.PeakMeter(dict(products, numpy=graphs.numpy_product()), seconds)
            results[model] = _measure(model, runtimes, seconds, options.rounds, peak)
        for name, values in peak.gflops.items():
            gflops.setdefault(name, []).extend(values)
    figures = {f'matrix product, {name}': measure.measurement(values, 'GFLOP/s')
               for name, values in gflops.items()}
    for model, result in results.items():
        figures.update(_figures(model, result))
    if set(results) >= set(NETWORKS):
        figures['five networks, step: best engine by pytorch'] = mean_ratio(results)
    print('\n'.join(measure.table(figures)), flush=True)
    return dict(measure.machine(), versions=versions, seconds=seconds, figures=figures,
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


def _batch(model: str) -> Dict[str, int]:
    recipe = overrides.get_recipe(catalog.default_recipe(model))
    return {'batch_size': recipe.batch_size, 'image_size': recipe.image_size}


def _compare_logits(models: Sequence[str]) -> None:
    """Raise UserError if PyTorch's logits differ from TensorFlow's."""
    if not models:
        return
    with tempfile.TemporaryDirectory() as folder, client.Runtime('tf2') as engine, \
            client.Runtime(PYTORCH) as pytorch:
        for model in models:
            path = os.path.join(folder, model + '.npz')
            engine.ask(logits=model, path=path, **_batch(model))
            difference = pytorch.ask(logits=model, path=path)['difference']
            print(f"{model}: PyTorch's logits differ by {difference:.1e}", flush=True)
            if not difference <= MAX_DIFFERENCE:
                raise UserError(f'{model} in benchmarks/runtimes/torch_networks.py is another '
                                f'network: its logits differ by {difference:g} of the largest')


def _measure(model, runtimes, seconds, rounds, peak):
    batch = _batch(model)
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

    candidates, round_secs = {}, 0.
    for kind in KINDS:
        for name in runtimes:
            run_secs = 1 / measure.rate(partial(run, name, kind), 0., 0)  # warms up
            round_secs += max(run_secs, seconds)
            candidates[name, kind] = partial(images_per_second, name, kind,
                                             warmup=1 if run_secs < SLOW_SECS else 0)
    if model in NETWORKS:
        rounds = rounds or min(MAX_ROUNDS, max(MIN_ROUNDS, int(MODEL_SECS / round_secs)))
    rounds = rounds or OTHER_ROUNDS
    values = measure.interleave(dict(candidates, peak=peak), rounds, model, verbose=False)
    recipe = overrides.get_recipe(catalog.default_recipe(model))
    network = dict(batch, params=params, macs=facts[ENGINES[0]]['macs'], rounds=rounds,
                   training_ops=training_ops(facts[ENGINES[0]]['layers']),
                   images=durations.num_steps(recipe) * recipe.batch_size)
    return Result(network, {key: values[key] for key in candidates},
                  [1e9 * value for value in values['peak']])


def _figures(model, result):
    best, network = result.best, result.network
    figures = {f'{model} {kind}: {name}': measure.measurement(values, 'images/s')
               for (name, kind), values in result.speeds.items()}
    if model in NETWORKS:
        for kind in KINDS:
            figures[f'{model} {kind}: {best} by {PYTORCH}'] = measure.measurement(
                result.ratio(kind, best), 'x')
    figures[f'{model} step: {best}, of the peak'] = measure.measurement(
        result.peak_share(best), '', MIN_PEAK_SHARE if model == 'davidnet' else None)
    if {(name, 'step') for name in BFLOAT16} <= set(result.speeds):
        figures[f'{model} step: {BFLOAT16[0]} by {BFLOAT16[1]}'] = measure.measurement(
            result.ratio('step', *BFLOAT16), 'x')
    for name in (best, PYTORCH) + BFLOAT16:
        if (name, 'step') in result.speeds:
            minutes = network['images'] / np.array(result.speeds[name, 'step']) / 60
            pflop = network['images'] * network['training_ops'] / 1e15
            figures[f'{model}, its whole recipe: {name}'] = dict(
                measure.measurement(minutes, 'minutes'), note=f'{pflop:.2g} PFLOP')
    return figures


def mean_ratio(results: Dict[str, Result]) -> measure.Measurement:
    """Return the geometric mean, over NETWORKS, of the best engine's median ratio to PyTorch."""
    ratios = [np.median(results[model].ratio('step', results[model].best)) for model in NETWORKS]
    return measure.measurement([float(np.exp(np.mean(np.log(ratios))))], 'x', MIN_RATIO)

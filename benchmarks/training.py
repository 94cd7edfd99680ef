"""Forward, backward and whole steps of training on each engine and in PyTorch, interleaved.

Each candidate trains on one batch in a process of its own; benchmarks/runtimes/server.py defines
the three. PyTorch has five of the networks: with as many parameters and, from the same weights, the
same logits, which is checked first. It is timed as eager and as compiled code. A ratio is of the
fastest candidate of ours and PyTorch's fastest, in any precision. The fastest matrix product
in a precision is the machine's peak.
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
from permafrost import engines
from permafrost.errors import UserError
from permafrost.evaluation.runtimes import client as runtime_client
from permafrost.recipes import catalog, overrides

ENGINES = ('tf1', 'tf1-mkl', 'tf2')
BFLOAT16_ENGINE = 'tf2-bfloat16'
OURS = (*ENGINES, BFLOAT16_ENGINE)
PYTORCH = 'pytorch'
PEERS = (PYTORCH, 'pytorch-bfloat16', 'pytorch-compiled', 'pytorch-compiled-bfloat16')
NETWORKS = ('davidnet', 'resnet20', 'vgg_bn_drop', 'tuto', 'sprint')  # that PyTorch has too
KINDS = ('forward', 'backward', 'step')
PRODUCT = 'product'
ABLATED = 'sprint'  # also timed without each of client.WITHOUT
MAX_BATCH = 500  # images: with 2,000 of sprint, eight processes need more than 24 GB
MIN_RATIO, MIN_PEAK_SHARE = 1.15, .8
MAX_DIFFERENCE = 1e-3  # of logits, relative to the largest


class Result(NamedTuple):
    """The measurements of one network."""
    network: Dict[str, Any]  # facts
    # Of each round of a (name, kind): images/s, and GFLOP/s of the kind PRODUCT.
    speeds: Dict[Tuple[str, str], List[float]]

    def best(self, names: Sequence[str], kind: str = 'step') -> str:
        """Return the fastest of `names` in runs of a kind."""
        return max((name for name in names if (name, kind) in self.speeds),
                   key=lambda name: np.median(self.speeds[name, kind]))

    def ratio(self, kind: str) -> Tuple[str, np.ndarray]:
        """Return our best by PyTorch's best: their names, the ratios of the rounds."""
        ours, peer = self.best(OURS, kind), self.best(PEERS, kind)
        return f'{ours} by {peer}', np.divide(self.speeds[ours, kind], self.speeds[peer, kind])

    def peak_share(self, name: str) -> np.ndarray:
        """Return the share of the peak, of its precision and round, that whole steps reach."""
        peak = np.max([values for (other, kind), values in self.speeds.items()
                       if kind == PRODUCT and _is_bfloat16(other) == _is_bfloat16(name)], 0)
        return np.multiply(self.speeds[name, 'step'], self.network['training_ops']) / (1e9 * peak)


def benchmark(options: Options) -> Dict[str, Any]:
    """Measure, print a table, and return the result to record."""
    models = options.models or list(NETWORKS)
    names = [*OURS, *(PEERS if set(models) & set(NETWORKS) else ())]
    if not engines.has_bfloat16('tf2'):
        names = [name for name in names if not _is_bfloat16(name)]
    client.check_allocator()
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
    if ABLATED in models and BFLOAT16_ENGINE in names:
        figures.update(_ablation(options.seconds / 2, options.rounds))
    for name in names + ['numpy']:
        gflops = [value for result in results.values()
                  for value in result.speeds.get((name, PRODUCT), [])]
        figures[f'matrix product, {name}'] = measure.measurement(gflops, 'GFLOP/s')
    for model, result in results.items():
        figures.update(_figures(model, result))
    if set(results) >= set(NETWORKS):
        figures['five networks, step: our best by the best of PyTorch'] = mean_ratio(results)
    measure.print_table(figures)
    return dict(measure.machine_facts(), versions=versions, settings=_kernel_settings(),
                seconds=options.seconds / 8, figures=figures,
                networks={model: result.network for model, result in results.items()})


def _kernel_settings():
    """Return {engine: {variable: value}} of the environment that engines.prepare sets."""
    return {engine: {name: os.environ.get(name, value) for name, value in
                     engines.kernel_settings(engine, engines.threads(engine)[0]).items()}
            for engine in ENGINES}


def _is_bfloat16(name: str) -> bool:
    return name in client.SERVERS and client.SERVERS[name].compute_dtype == 'bfloat16'


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
                raise UserError(f'{model} in benchmarks/runtimes/torch_networks.py does not '
                                f'match ours: the logits differ by {difference:g} of the largest')


def _load(model, runtimes):
    """Load `model` in each of `runtimes`; return the batch and the answers."""
    recipe = overrides.get_recipe(catalog.default_recipe(model))
    batch = {'batch_size': min(recipe.batch_size, MAX_BATCH), 'image_size': recipe.image_size}
    return batch, {name: each.ask(
        load=model, compute_dtype=client.SERVERS[name].compute_dtype,
        compiled=client.SERVERS[name].compiled, without=client.SERVERS[name].without, **batch)
        for name, each in runtimes.items()}


def _run(model, runtimes, name, kind):
    if not np.isfinite(runtimes[name].ask(run=kind)['loss']):
        raise UserError(f'{model} diverged in {name}, so its speed means nothing: run the '
                        'benchmark again')


def _ablation(seconds: float, rounds: int) -> Dict[str, measure.Measurement]:
    """Return the speed of ABLATED's steps, and without each of the things that make it."""
    with contextlib.ExitStack() as stack:
        names = [BFLOAT16_ENGINE, *(f'without {name}' for name in client.WITHOUT)]
        runtimes = {name: stack.enter_context(client.start(name)) for name in names}
        batch, _ = _load(ABLATED, runtimes)
        speeds = measure.interleave({
            name: partial(measure.rate, partial(_run, ABLATED, runtimes, name, 'step'), seconds)
            for name in names}, rounds, f'{ABLATED} ablation')
    return {f'{ABLATED} ablation: {name}': measure.measurement(
        np.multiply(values, batch['batch_size']), 'images/s') for name, values in speeds.items()}


def _measure(model, runtimes, seconds, rounds):
    batch, facts = _load(model, runtimes)
    params = facts[ENGINES[0]]['params']
    for name in runtimes:
        if facts[name]['params'] != params:
            raise UserError(f"{model} has {facts[name]['params']} parameters in {name}, {params} "
                            f'in {ENGINES[0]}: it is not the same network')

    run = partial(_run, model, runtimes)

    def images_per_second(name, kind):
        # The first run after a pause may take a third longer: the system reclaims the memory of
        # processes that sleep.
        return batch['batch_size'] * measure.rate(partial(run, name, kind), seconds, warmup=1)

    def gflops(product):
        return 2e-9 * server.SIDE ** 3 * measure.rate(product, min(seconds, .4))

    candidates = {}
    for kind in KINDS:
        for name in runtimes:
            if client.SERVERS[name].compiled and kind != 'step':
                continue  # compiling takes a minute or two
            run(name, kind)  # compiles what is compiled
            candidates[name, kind] = partial(images_per_second, name, kind)
    for name, each in runtimes.items():
        candidates[name, PRODUCT] = partial(gflops, partial(each.ask, run=PRODUCT))
    candidates['numpy', PRODUCT] = partial(gflops, partial(np.matmul, *server.matrices()))
    network = dict(batch, params=params, macs=facts[ENGINES[0]]['macs'], rounds=rounds,
                   training_ops=training_ops(facts[ENGINES[0]]['layers']))
    return Result(network, measure.interleave(candidates, rounds, model))


def _figures(model, result):
    figures = {f'{model} {kind}: {name}': measure.measurement(values, 'images/s')
               for (name, kind), values in result.speeds.items() if kind in KINDS}
    if model in NETWORKS:
        for kind in KINDS:
            names, ratios = result.ratio(kind)
            figures[f'{model} {kind}: {names}'] = measure.measurement(ratios, 'x')
    engine = result.best(ENGINES)
    for name in (engine, BFLOAT16_ENGINE):
        if (name, 'step') in result.speeds:
            target = MIN_PEAK_SHARE if (model, name) == ('davidnet', engine) else None
            figures[f'{model} step: {name}, of the peak'] = measure.measurement(
                result.peak_share(name), '', target)
    return figures


def mean_ratio(results: Dict[str, Result]) -> measure.Measurement:
    """Return the geometric mean, over NETWORKS, of the median ratios of steps to PyTorch's."""
    ratios = [np.median(results[model].ratio('step')[1]) for model in NETWORKS]
    return measure.measurement([float(np.exp(np.mean(np.log(ratios))))], 'x', MIN_RATIO)

"""Forward, backward and whole steps of training on each engine, and in PyTorch, in turn.

Everybody trains on one batch, in a process of its own, which sleeps while others are timed. What
forward, backward and step are is said in peers/serve.py. Of five networks there is the same in
PyTorch: as many parameters, and the same logits from the same weights, which is checked first.
Beside them the matrix product of everybody is timed: the fastest is the machine's peak.
"""

import contextlib
import os
import tempfile

import numpy as np

from benchmarks.peers import serve
from benchmarks import graphs, measure, peers
from permafrost import runtime
from permafrost.errors import UserError
from permafrost.recipes import catalog, durations, overrides

ENGINES = ('tf1', 'tf1-mkl', 'tf2')
PYTORCH = 'pytorch'
ROUNDED = ('tf2-bfloat16', 'pytorch-bfloat16')  # where the processor has it; others: float32
NETWORKS = ('davidnet', 'resnet20', 'vgg_bn_drop', 'tuto', 'sprint')  # that PyTorch has too
KINDS = ('forward', 'backward', 'step')
ROUNDS = 3, 8  # at least and at most, unless --rounds says
MODEL_SECS = 90.  # in which a network's rounds should fit
OTHERS_ROUNDS = 2  # of networks that are not among the five
SLOW_SECS = 1.  # a run that takes longer needs no other before it
LEAST_RATIO, LEAST_SHARE = 1.4, .8
DIFFERENCE = 1e-3  # of logits, by the largest


def benchmark(options):
    """Measures, prints a table, returns what to record."""
    wanted = options.models or list(NETWORKS)
    seconds = options.seconds / 8
    names = ENGINES + ((PYTORCH,) if set(wanted) & set(NETWORKS) else ())
    names += tuple(name for name in ROUNDED
                   if runtime.has_bfloat16('tf2') and name.split('-')[0] in names)
    for name in names:
        peers.python(peers.TRAINERS[name][1])
    found, products, versions = {}, {name: [] for name in ('numpy',) + names}, {}
    if PYTORCH in names:
        _agree([model for model in wanted if model in NETWORKS])
    for model in wanted:
        with contextlib.ExitStack() as stack:  # new processes: MKL's keeps memory that it had
            running = {name: stack.enter_context(peers.Peer(name)) for name in names
                       if PYTORCH not in name or model in NETWORKS}
            versions.update((name, peer.version) for name, peer in running.items())
            found[model] = _model(model, running, seconds, options.rounds, products)
        print('\n'.join(_rows(model, found[model])), flush=True)
    figures = {'matrix product, %s' % name: measure.figure(values, 'GFLOP/s')
               for name, values in products.items()}
    for model in wanted:
        figures.update(_figures(model, found[model]))
    if set(wanted) >= set(NETWORKS):
        figures['five networks, step: best engine by pytorch'] = _mean(found)
    shown = {name: figure for name, figure in figures.items() if figure['unit'] != 'images/s'}
    print('\n'.join([''] + measure.table(shown)), flush=True)
    return dict(measure.machine(), versions=versions, seconds=seconds, figures=figures,
                networks={model: found[model]['network'] for model in wanted})


def image_ops(layers):
    """Operations, 2 a multiply-accumulate, of the matrix products that train a network an image.

    Each layer has one forward, one for the gradient of its weights and one for that of its
    input: without the second where weights are fixed, without the third where nothing before
    it is trained, as before the first layer.
    """
    ops, before = 0, False
    for layer in layers:
        fixed = layer['kind'] == 'whiten'  # its weights, not its biases
        trained = layer['params'] > 0 and not fixed
        ops += 2 * layer['macs'] * (1 + trained + before)
        before = before or trained or fixed and layer['ops'] > 2 * layer['macs']
    return ops


def _request(model):
    recipe = overrides.get_recipe(catalog.default_recipe(model))
    return {'batch_size': recipe.batch_size, 'image_size': recipe.image_size}


def _agree(wanted):
    """Raises UserError where PyTorch's logits are not ours."""
    with tempfile.TemporaryDirectory() as folder, peers.Peer('tf2') as ours, \
            peers.Peer(PYTORCH) as theirs:
        for model in wanted:
            path = os.path.join(folder, model + '.npz')
            ours.ask(agree=model, path=path, **_request(model))
            difference = theirs.ask(agree=model, path=path)['difference']
            print('%s in PyTorch: logits differ from ours by %.1e of the largest' % (
                model, difference), flush=True)
            if not difference <= DIFFERENCE:
                raise UserError('%s of tools/benchmarks/peers/torch_networks.py is another '
                                'network than ours: logits differ by %g of the largest' % (
                                    model, difference))


def _model(model, running, seconds, rounds, products):
    """{'network': facts, 'speeds': {(contestant, kind): [images/s of each round]}, 'peak':
    [operations/s of each round]}. Appends GFLOP/s to `products`."""
    request = _request(model)
    said = {name: peer.ask(load=model, precision='bfloat16' if name in ROUNDED else 'float32',
                           **request) for name, peer in running.items()}
    ours = said[ENGINES[0]]
    for name in running:
        if said[name]['params'] != ours['params']:
            raise UserError('%s has %d parameters in %s, %d in %s: not the same network' % (
                model, said[name]['params'], name, ours['params'], ENGINES[0]))
    batch_size, took, contestants = request['batch_size'], 0., {}
    for kind in KINDS:
        for name in running:
            def run(name=name, kind=kind):
                if not np.isfinite(running[name].ask(run=kind)['loss']):
                    raise UserError('%s diverged in %s: its speed means nothing' % (model, name))
            once = 1 / measure.rate(run, 0., 0)  # warms up
            took += max(once, seconds)
            contestants[name, kind] = lambda run=run, settle=int(once < SLOW_SECS): (
                batch_size * measure.rate(run, seconds, settle))
    rounds = rounds or (min(ROUNDS[1], max(ROUNDS[0], int(MODEL_SECS / took)))
                        if model in NETWORKS else OTHERS_ROUNDS)
    product = {name: lambda name=name: running[name].ask(run='product') for name in running}
    product['numpy'] = graphs.numpy_product()

    def peak():
        for name, run in product.items():
            calls = measure.rate(run, min(seconds, .4))
            products[name].append(calls * 2e-9 * serve.SIDE ** 3)
        return max(products[name][-1] for name in product)

    turns = {' '.join(key): function for key, function in contestants.items()}
    values = measure.in_turn(dict(turns, product=peak), rounds,
                             lambda text: print(model + ' ' + text.split(':')[0], flush=True))
    recipe = overrides.get_recipe(catalog.default_recipe(model))
    ops = image_ops(ours['layers'])
    return {'network': dict(request, params=ours['params'], macs=ours['macs'], rounds=rounds,
                            training_ops=ops, images=durations.num_steps(recipe) * recipe.batch_size),
            'speeds': {key: values[' '.join(key)] for key in contestants},
            'peak': [1e9 * value for value in values['product']]}


def _best(found):
    """The engine whose steps are fastest."""
    return max(ENGINES, key=lambda name: np.median(found['speeds'][name, 'step']))


def _ratio(found, kind, name, by=PYTORCH):
    """Its speed by PyTorch's of the same round; None where PyTorch has no such network."""
    reference = found['speeds'].get((by, kind))
    return None if reference is None else np.divide(found['speeds'][name, kind], reference)


def _share(found, name):
    """Its share of the peak of the same round, in whole steps."""
    return np.multiply(found['speeds'][name, 'step'],
                       found['network']['training_ops']) / found['peak']


def _rows(model, found):
    """Lines: medians and quartiles of everybody, the ratio to PyTorch, the share of the peak."""
    network = found['network']
    lines = ['%s, batches of %d, %dx%d' % (model, network['batch_size'], network['image_size'],
                                           network['image_size'])]
    for name, kind in found['speeds']:
        low, median, high = np.percentile(found['speeds'][name, kind], [25, 50, 75])
        line = '  %-9s %-8s %7.4g images/s  %7.4g to %7.4g' % (kind, name, median, low, high)
        ratio = _ratio(found, kind, name)
        if ratio is not None:
            line += '  %5.2f x' % np.median(ratio)
        if kind == 'step' and name not in ROUNDED:  # the peak is of float32
            line += '  %.2f of the peak' % np.median(_share(found, name))
        lines.append(line)
    return lines


def _figures(model, found):
    """What is recorded of a network."""
    figures = {'%s %s: %s' % ((model, kind, name)): measure.figure(values, 'images/s')
               for (name, kind), values in found['speeds'].items()}
    best, network = _best(found), found['network']
    for kind in KINDS if (PYTORCH, 'step') in found['speeds'] else ():
        figures['%s %s: %s by pytorch' % (model, kind, best)] = measure.figure(
            _ratio(found, kind, best), 'x')
    figures['%s step: %s, of the peak' % (model, best)] = measure.figure(
        _share(found, best), '', LEAST_SHARE if model == 'davidnet' else None)
    if {(name, 'step') for name in ROUNDED} <= set(found['speeds']):
        figures['%s step: %s by %s' % ((model,) + ROUNDED)] = measure.figure(
            _ratio(found, 'step', *ROUNDED), 'x')
    for name in (best, PYTORCH) + ROUNDED:
        if (name, 'step') not in found['speeds']:
            continue
        figures['%s, its whole recipe: %s' % (model, name)] = whole = measure.figure(
            network['images'] / np.array(found['speeds'][name, 'step']) / 60, 'minutes')
        whole['note'] = '%.2g PFLOP' % (network['images'] * network['training_ops'] / 1e15)
    return figures


def _mean(found):
    """The geometric mean over the five networks of the medians of the best engine's ratios."""
    ratios = [np.median(_ratio(found[model], 'step', _best(found[model]))) for model in NETWORKS]
    return measure.figure([float(np.exp(np.mean(np.log(ratios))))], 'x', LEAST_RATIO)

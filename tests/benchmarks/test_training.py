"""The benchmark training: what it times, checks and computes from the times."""

import collections
import json
import math
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from benchmarks import runner, training
from benchmarks.runtimes import ablations, client, server
from permafrost.config import Config
from permafrost.errors import UserError
from permafrost.evaluation.runtimes import client as runtime_client
from permafrost.experiments import model_info
from permafrost.recipes import catalog, overrides
from permafrost.training.graph import build_train_graph
from tests.training.kernels.helpers import compiled

# A server without a network, with the answers in FACTS.
FAKE_SERVER = '''
import contextlib
import json
from benchmarks.runtimes import server

FACTS = json.loads({facts!r})

@contextlib.contextmanager
def load(request):
    print('a line of the library', flush=True)
    assert server.batch(request)[0].shape in ((128, 24, 24, 3), (500, 32, 32, 3))
    loss = FACTS['loss']
    yield FACTS, dict(forward=lambda: loss, backward=lambda: loss, step=lambda: loss,
                      product=lambda: None)

server.serve_training('1', load, lambda request: {{'difference': FACTS['difference']}})
'''
LAYERS = [dict(kind='conv', params=10, macs=1000, ops=2010),
          dict(kind='fc', params=5, macs=100, ops=205)]
FACTS = dict(params=15, macs=1100, layers=LAYERS, loss=2.5, difference=1e-6)


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    """Return a function that runs the benchmark with fakes, and `different` facts for PyTorch."""
    def run(models=('tuto',), **different):
        for number, (name, each) in enumerate(list(client.SERVERS.items())):
            facts = dict(FACTS, **(different if name == training.PYTORCH else {}))
            module = f'fake_{number}'
            (tmp_path / (module + '.py')).write_text(FAKE_SERVER.format(facts=json.dumps(facts)))
            monkeypatch.setitem(client.SERVERS, name, each._replace(module=module))
        monkeypatch.setattr(server, 'SIDE', 64)
        monkeypatch.setenv('PYTHONPATH', str(tmp_path))
        monkeypatch.setattr(client, '_has_allocator', lambda: True)
        monkeypatch.setattr(training.engines, 'has_bfloat16', lambda engine: True)
        monkeypatch.setattr(runtime_client, 'python', lambda environment: sys.executable)
        return training.benchmark(runner.Options(models=list(models), rounds=3, seconds=.01))
    return run


def test_the_result_follows_from_the_speeds_of_each_round(benchmark, capsys, monkeypatch):
    monkeypatch.setenv('KMP_BLOCKTIME', '7')
    result = benchmark()
    figures = result['figures']
    speeds = {(kind, name): figures[f'tuto {kind}: {name}']['values']
              for kind in training.KINDS for name in training.OURS + training.PEERS
              if kind == 'step' or 'compiled' not in name}
    assert all(len(values) == 3 and min(values) > 0 for values in speeds.values())
    for kind in training.KINDS:
        ours, peer = (max((name for name in names if (kind, name) in speeds),
                          key=lambda name: np.median(speeds[kind, name]))
                      for names in (training.OURS, training.PEERS))
        assert figures[f'tuto {kind}: {ours} by {peer}']['values'] == pytest.approx(
            np.divide(speeds[kind, ours], speeds[kind, peer]))
    best = max(training.ENGINES, key=lambda name: np.median(speeds['step', name]))
    network = result['networks']['tuto']
    assert network['training_ops'] == 2 * (2 * 1000 + 3 * 100)
    peak = np.max([value['values'] for name, value in figures.items()
                   if name.startswith('matrix product') and not name.endswith('bfloat16')], 0)
    assert figures[f'tuto step: {best}, of the peak']['values'] == pytest.approx(
        np.array(speeds['step', best]) * network['training_ops'] / (1e9 * peak))
    assert 'five networks' not in ' '.join(figures)  # one alone has no mean
    assert result['settings']['tf1-mkl']['KMP_BLOCKTIME'] == '7'  # of the user
    assert result['settings']['tf1'] == {}
    assert 'tuto step: pytorch' in capsys.readouterr().out


@pytest.mark.parametrize('different, message', [
    (dict(params=16), '16 parameters in pytorch, 15 in tf1'),
    (dict(difference=.1), 'does not match ours: the logits differ by 0.1 of the largest'),
    (dict(loss=float('nan')), 'diverged in pytorch')])
def test_another_network_is_refused(benchmark, different, message):
    with pytest.raises(UserError, match=message):
        benchmark(**different)


def test_an_untuned_pytorch_is_refused(monkeypatch):
    monkeypatch.setattr(client.ctypes.util, 'find_library', lambda name: None)
    message = r'install it \(Debian: apt-get install libtcmalloc-minimal4\)'
    with pytest.raises(UserError, match=message):
        client.check_allocator()


def test_the_mean_is_geometric_and_of_the_fastest_of_each():
    def result(best, ratio, peer=training.PYTORCH):
        speeds = {(name, 'step'): [1., 1., 1.] for name in training.OURS + training.PEERS}
        speeds.update({(best, 'step'): [2 * ratio] * 3, (peer, 'step'): [2.] * 3})
        return training.Result({}, speeds)

    names = ('tf1', 'tf1-mkl', 'tf2', 'tf2', 'tf2-bfloat16')
    assert [result(name, 2., peer).ratio('step')[0] for name, peer in zip(
        names, training.PEERS)] == [
            'tf1 by pytorch', 'tf1-mkl by pytorch-bfloat16', 'tf2 by pytorch-compiled',
            'tf2 by pytorch-compiled-bfloat16']
    mean = training.mean_ratio({model: result(name, ratio) for model, name, ratio in zip(
        training.NETWORKS, names, (1., 1., 2., 2., 8.))})
    assert mean['median'] == pytest.approx(2.) and mean['met']


@pytest.mark.parametrize('model, expected', [
    # first layer: 2 products; others 3
    ('lenet5', 2 * (2 * 5 * 5 * 3 * 6 * 28 * 28 + 3 * (
        5 * 5 * 6 * 16 * 10 * 10 + 400 * 120 + 120 * 84 + 84 * 10))),
    # the filters of the whitening are fixed, its biases are not: 1 product; then 3
    ('sprint', 2 * (2 * 2 * 3 * 24 * 31 * 31 + 3 * (
        9 * 24 * 64 * 30 * 30 + 9 * 64 * 64 * 15 * 15 + 9 * 64 * 256 * 14 * 14
        + 9 * 256 * 256 * 7 * 7 + 9 * 256 * 256 * 6 * 6 + 9 * 256 * 256 * 3 * 3 + 256 * 10))),
    # without biases there, the next convolution needs no gradient of its input: 2
    ('davidnet_tricks', 2 * (9 * 3 * 27 * 32 * 32 + 2 * 27 * 64 * 32 * 32 + 3 * 9 * (
        64 * 128 * 32 * 32 + 2 * 128 * 128 * 16 * 16 + 128 * 256 * 16 * 16 + 256 * 512 * 8 * 8
        + 2 * 512 * 512 * 4 * 4) + 3 * 512 * 10))])
def test_training_has_two_or_three_products_a_layer(model, expected):
    assert training.training_ops(model_info.measure_model(model, 32)['layers']) == expected


def test_an_engine_trains_on_its_batch(monkeypatch):
    monkeypatch.setattr(runtime_client, 'python', lambda environment: sys.executable)
    with client.start('tf2') as engine:  # the engine of this Python
        facts = engine.ask(load='lenet5', batch_size=16, image_size=32, compute_dtype='float32',
                            compiled=False)
        assert facts['params'] == model_info.measure_model('lenet5', 32)['params']
        assert engine.ask(run='product') == {'loss': None}
        first = engine.ask(run='forward')['loss']
        assert engine.ask(run='backward')['loss'] == pytest.approx(first, rel=1e-5)
        assert engine.ask(run='forward')['loss'] == pytest.approx(first, rel=1e-5)
        for _ in range(30):  # the learning rate begins at 0
            engine.ask(run='step')
        assert engine.ask(run='forward')['loss'] < first
        with pytest.raises(UserError, match='tf2: '):
            engine.ask(load='lenet6', batch_size=16, image_size=32, compute_dtype='float32',
                            compiled=False)


@compiled
def test_an_ablation_leaves_one_thing_out_of_the_graph():
    def types(name):
        recipe = overrides.get_recipe('sprint', ['compute_dtype=bfloat16'])
        with tf.Graph().as_default() as graph:
            with ablations.without(name, recipe) as changed:
                build_train_graph(Config(model='sprint', recipe=changed, steps=1), 10,
                                  tf.zeros([4, 32, 32, 3]), tf.zeros([4], tf.int64))
            return collections.Counter(op.type for op in graph.get_operations())

    built = {name: types(name) for name in (None, *client.WITHOUT)}
    for name, left_out in zip(client.WITHOUT, ('Conv2DWeightGradient', 'Conv2DWeightGradient',
                                               'SigmoidGelu', 'SigmoidGelu', 'Pad')):
        assert built[name][left_out] < built[None][left_out], name
    calls = [sum(count for name, count in built[each].items() if 'PartitionedCall' in name)
             for each in (None, 'C++ sigmoid_gelu', 'compiled sigmoid_gelu')]
    assert calls[1] > calls[0] == calls[2]
    assert types(None) == built[None]  # nothing of it stays


def test_an_ablation_of_biases_freezes_them_from_the_first_epoch_on():
    recipe = overrides.get_recipe('sprint')
    assert list(ablations.PATCHES) == list(client.WITHOUT)
    with ablations.without(client.WITHOUT[-1], recipe) as changed:
        assert [group.freeze_epoch for group in changed.param_groups if 'biases' in group.pattern
                ] == [0.]
        assert changed != recipe
    assert any(group.freeze_epoch < 1 for group in recipe.param_groups)
    for name in (None, *client.WITHOUT[:-1]):  # the speed may not change while it is measured
        with ablations.without(name, recipe) as changed:
            assert {group.freeze_epoch for group in changed.param_groups} == {math.inf}


def test_each_ablation_is_timed(benchmark):
    figures = benchmark(models=['sprint'])['figures']
    names = ['tf2-bfloat16', *(f'without {name}' for name in client.WITHOUT)]
    assert [key for key in figures if 'ablation' in key] == [
        f'sprint ablation: {name}' for name in names]
    assert all(len(figures[f'sprint ablation: {name}']['values']) == 3 for name in names)


@pytest.fixture(scope='module')
def pytorch_and_engine(pytorch_python):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime_client, 'python',
                      lambda name: pytorch_python if name == 'pytorch' else sys.executable)
        with client.start('pytorch') as pytorch, client.start('tf2') as engine:
            yield pytorch, engine


@pytest.mark.slow
@pytest.mark.parametrize('model', training.NETWORKS)
def test_pytorch_has_the_same_network(pytorch_and_engine, model, tmp_path):
    pytorch, engine = pytorch_and_engine
    size = catalog.image_size(model)
    facts = pytorch.ask(load=model, batch_size=4, image_size=size, compute_dtype='float32',
                            compiled=False)
    assert facts['params'] == model_info.measure_model(model, size)['params']
    losses = [pytorch.ask(run=kind)['loss'] for kind in training.KINDS]
    assert np.all(np.isfinite(losses))
    path = str(tmp_path / 'weights.npz')
    engine.ask(logits=model, path=path, image_size=size)
    assert pytorch.ask(logits=model, path=path)['difference'] < training.MAX_DIFFERENCE
    with np.load(path) as arrays:
        arrays = {key: arrays[key] for key in arrays}
    arrays['w001'] = arrays['w001'] + 1.  # other weights give other logits
    np.savez(path, **arrays)
    assert pytorch.ask(logits=model, path=path)['difference'] > training.MAX_DIFFERENCE

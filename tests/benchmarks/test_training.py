"""What tools/benchmark.py training times, and what it makes of the times."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import models

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(ROOT, 'tools'))
import benchmarks  # noqa: E402
from benchmarks import peers, training  # noqa: E402
from permafrost.errors import UserError  # noqa: E402
from permafrost.experiments import model_info  # noqa: E402

# A contestant without a network: what it answers comes from the environment.
FAKE = '''
import contextlib
import json
import os
import serve

FACTS = json.loads(os.environ['FACTS'])

@contextlib.contextmanager
def load(request):
    print('a line of the library', flush=True)
    assert serve.batch(request)[0].shape == (128, 24, 24, 3)
    loss = FACTS['loss']
    yield FACTS, dict(forward=lambda: loss, backward=lambda: loss, step=lambda: loss,
                      product=lambda: None)

serve.serve_runs('1', load, lambda request: {'difference': FACTS['difference']})
'''
LAYERS = [dict(kind='conv', params=10, macs=1000, ops=2010),
          dict(kind='fc', params=5, macs=100, ops=205)]
FACTS = dict(params=15, macs=1100, layers=LAYERS, loss=2.5, difference=1e-6)


@pytest.fixture
def trainers(tmp_path, monkeypatch):
    """A function that makes all contestants fakes, PyTorch with other facts."""
    def make(**differs):
        for name in list(peers.TRAINERS):
            facts = dict(FACTS, **(differs if name == training.PYTORCH else {}))
            script = tmp_path / (name + '.py')
            script.write_text('import os\nos.environ["FACTS"] = %r\n%s' % (
                json.dumps(facts), FAKE))
            monkeypatch.setitem(peers.TRAINERS, name, (str(script), name))
        monkeypatch.setenv('PYTHONPATH', peers.HERE)
        monkeypatch.setattr(peers, 'python', lambda environment: sys.executable)
        return training.benchmark(benchmarks.Options(
            models=['tuto'], rounds=3, seconds=.01, results=None, dataset='', data_dir=None))
    return make


def test_what_is_recorded_follows_from_the_rates_of_each_round(trainers, capsys):
    found = trainers()
    figures = found['figures']
    speeds = {(kind, name): figures['tuto %s: %s' % (kind, name)]['values']
              for kind in training.KINDS for name in training.ENGINES + (training.PYTORCH,)}
    assert all(len(values) == 3 and min(values) > 0 for values in speeds.values())
    best = max(training.ENGINES, key=lambda name: np.median(speeds['step', name]))
    for kind in training.KINDS:
        assert figures['tuto %s: %s by pytorch' % (kind, best)]['values'] == pytest.approx(
            np.divide(speeds[kind, best], speeds[kind, training.PYTORCH]))
    network = found['networks']['tuto']
    assert network['training_ops'] == 2 * (2 * 1000 + 3 * 100)
    peak = np.max([figure['values'] for name, figure in figures.items()
                   if name.startswith('matrix product')], 0)
    assert figures['tuto step: %s, of the peak' % best]['values'] == pytest.approx(
        np.array(speeds['step', best]) * network['training_ops'] / (1e9 * peak))
    minutes = figures['tuto, its whole recipe: pytorch']['values']
    assert minutes == pytest.approx(1280000 / 60 / np.array(speeds['step', training.PYTORCH]))
    assert 'five networks' not in ' '.join(figures)  # of one alone there is no mean
    assert 'tuto, batches of 128, 24x24' in capsys.readouterr().out


@pytest.mark.parametrize('differs, said', [
    (dict(params=16), '16 parameters in pytorch, 15 in tf1'),
    (dict(difference=.1), 'another network'), (dict(loss=float('nan')), 'diverged in pytorch')])
def test_another_network_is_refused(trainers, differs, said):
    with pytest.raises(UserError, match=said):
        trainers(**differs)


def test_the_mean_is_geometric_and_of_each_networks_best_engine(monkeypatch):
    def network(best, ratio):
        speeds = {(name, 'step'): [1., 1., 1.] for name in training.ENGINES}
        speeds.update({(best, 'step'): [2 * ratio] * 3, (training.PYTORCH, 'step'): [2.] * 3})
        return {'speeds': speeds}

    names = ('tf1', 'tf1-mkl', 'tf2', 'tf2', 'tf2')
    found = {model: network(name, ratio) for model, name, ratio in zip(
        training.NETWORKS, names, (1., 1., 2., 2., 8.))}
    mean = training._mean(found)
    assert mean['median'] == pytest.approx(2.) and mean['met']


@pytest.mark.parametrize('model, expected', [
    # first layer: 2 products; others 3
    ('lenet5', 2 * (2 * 5 * 5 * 3 * 6 * 28 * 28 + 3 * (
        5 * 5 * 6 * 16 * 10 * 10 + 400 * 120 + 120 * 84 + 84 * 10))),
    # the whitening is fixed, but for its biases: 1 product; then 3
    ('sprint', 2 * (2 * 2 * 3 * 24 * 31 * 31 + 3 * (
        9 * 24 * 64 * 31 * 31 + 9 * 64 * 64 * 15 * 15 + 9 * 64 * 256 * 15 * 15
        + 9 * 256 * 256 * 7 * 7 + 9 * 256 * 256 * 7 * 7 + 9 * 256 * 256 * 3 * 3 + 256 * 10))),
    # without any bias the convolution after it needs no gradient of its input: 2
    ('davidnet_tricks', 2 * (9 * 3 * 27 * 32 * 32 + 2 * 27 * 64 * 32 * 32 + 3 * 9 * (
        64 * 128 * 32 * 32 + 2 * 128 * 128 * 16 * 16 + 128 * 256 * 16 * 16 + 256 * 512 * 8 * 8
        + 2 * 512 * 512 * 4 * 4) + 3 * 512 * 10))])
def test_operations_of_training_are_counted(model, expected):
    assert training.image_ops(model_info.measure_model(model, 32)['layers']) == expected


def test_an_engine_trains_the_batch_that_it_was_given(monkeypatch):
    monkeypatch.setattr(peers, 'python', lambda environment: sys.executable)
    with peers.Peer('tf2') as engine:  # whichever this is
        said = engine.ask(load='lenet5', batch_size=16, image_size=32, precision='float32')
        assert said['params'] == model_info.measure_model('lenet5', 32)['params']
        assert engine.ask(run='product') == {'loss': None}
        first = engine.ask(run='forward')['loss']
        assert engine.ask(run='backward')['loss'] == pytest.approx(first, rel=1e-5)
        assert engine.ask(run='forward')['loss'] == pytest.approx(first, rel=1e-5)
        for _ in range(30):  # rates begin at 0
            engine.ask(run='step')
        assert engine.ask(run='forward')['loss'] < first
        with pytest.raises(UserError, match='tf2: '):
            engine.ask(load='lenet6', batch_size=16, image_size=32, precision='float32')


@pytest.fixture(scope='module')
def pytorch():
    python = os.path.join(ROOT, '.venv', 'pytorch', 'bin', 'python')
    if subprocess.call([python, '-c', 'import torch'], stderr=subprocess.DEVNULL) if (
            os.path.exists(python)) else True:
        pytest.skip('there is no PyTorch: tools/setup.sh pytorch builds it')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, 'python',
                      lambda name: python if name == 'pytorch' else sys.executable)
        with peers.Peer('pytorch') as peer, peers.Peer('tf2') as engine:
            yield peer, engine


@pytest.mark.parametrize('model', training.NETWORKS)
def test_pytorch_has_the_same_network(pytorch, model, tmp_path):
    peer, engine = pytorch
    size = models.IMAGE_SIZES[model]
    said = peer.ask(load=model, batch_size=4, image_size=size, precision='float32')
    assert said['params'] == model_info.measure_model(model, size)['params']
    losses = [peer.ask(run=kind)['loss'] for kind in training.KINDS]
    assert np.all(np.isfinite(losses))
    path = str(tmp_path / 'weights.npz')
    engine.ask(agree=model, path=path, image_size=size)
    assert peer.ask(agree=model, path=path)['difference'] < training.DIFFERENCE
    with np.load(path) as arrays:
        arrays = {key: arrays[key] for key in arrays}
    arrays['w001'] = arrays['w001'] + 1.  # other weights are noticed
    np.savez(path, **arrays)
    assert peer.ask(agree=model, path=path)['difference'] > training.DIFFERENCE

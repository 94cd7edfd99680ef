"""What tools/benchmark.py inference compares with, as far as that goes without installing it."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(ROOT, 'tools'))
from benchmarks import inference, peers  # noqa: E402
from permafrost.errors import UserError  # noqa: E402
from permafrost.evaluation import graph_def  # noqa: E402

# Sums the batch in the place of a network, and prints as careless libraries do.
SUMS = '''
import numpy as np
import serve
calls = []

def load(path, threads):
    print('a line of the library', flush=True)
    if threads > 2:
        raise ValueError('too many\\nthreads')
    def bind(array):
        return (lambda: calls.append(array.shape),
                lambda: array.reshape(len(array), -1)[:, :10] + len(path))
    return bind

serve.serve('1.0 of %d' % len(calls), load)
'''


@pytest.fixture
def sums(tmp_path, monkeypatch):
    script = tmp_path / 'sums.py'
    script.write_text(SUMS)
    monkeypatch.setenv('PYTHONPATH', peers.HERE)
    monkeypatch.setattr(peers, 'python', lambda environment: sys.executable)
    monkeypatch.setitem(peers.PEERS, 'sums', peers.Row(str(script), '', '', '', ''))
    with peers.Peer('sums') as peer:
        yield peer


def test_a_peer_answers_in_spite_of_what_its_library_prints(sums):
    assert sums.version == '1.0 of 0'
    assert sums.ask(load='m', path='p', shape=[2, 4, 4, 3], threads=1) == {}
    answer = sums.ask(time='m', warmup=1, runs=5)
    assert set(answer) == {'median', 'min'} and 0 < answer['min'] <= answer['median']


def test_a_peer_predicts_every_image_once(sums, tmp_path):
    images = np.random.RandomState(1).randint(0, 256, (25, 4, 4, 3)).astype(np.uint8)
    np.save(str(tmp_path / 'images.npy'), images)
    sums.ask(predict='p', images=str(tmp_path / 'images.npy'), batch_size=10,
             output=str(tmp_path / 'output.npy'))
    expected = np.argmax(images.reshape(25, -1)[:, :10] + 1, 1)
    np.testing.assert_array_equal(np.load(str(tmp_path / 'output.npy')), expected)


def test_what_a_peer_cannot_do_is_one_line_and_it_goes_on(sums):
    with pytest.raises(UserError, match='sums: too many threads'):
        sums.ask(load='m', path='p', shape=[1, 4, 4, 3], threads=3)
    assert sums.ask(load='m', path='p', shape=[1, 4, 4, 3], threads=1) == {}


def test_every_peer_has_a_script_and_an_environment():
    for name, row in peers.PEERS.items():
        assert os.path.exists(os.path.join(peers.HERE, row.script)), name
        for environment in (row.environment, row.converter_environment):
            assert os.path.exists(os.path.join(ROOT, 'requirements', environment + '.txt')), name
        converter = row.converter.format(here=peers.HERE, graph='g', node='n', size=1, output='o')
        script = converter.split()[0]
        assert script == '-m' or os.path.exists(script), name


def test_setup_knows_the_environments(tmp_path):
    for environment in {row.environment for row in peers.PEERS.values()}:
        done = subprocess.run(
            [os.path.join(ROOT, 'tools', 'setup.sh'), environment], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=60,
            env=dict(os.environ, PERMAFROST_CACHE='/dev/null'))  # known, but nowhere to build it
        assert 'unknown engine' not in done.stdout


def test_the_network_alone_is_what_the_file_holds(tmp_path):
    path = os.path.join(ROOT, 'trained_models', 'squeeze1.pb')
    inference._cut(path, 24, str(tmp_path / 'cut.pb'))
    cut = graph_def.read_graph(str(tmp_path / 'cut.pb'))
    fed, = [node for node in cut.node if node.op == 'Placeholder']
    assert fed.name == 'inputs' and not graph_def.accepts_raw_images(cut)
    assert [d.size for d in fed.attr['shape'].shape.dim] == [-1, 24, 24, 3]
    inputs = np.random.RandomState(1).standard_normal((2, 24, 24, 3))
    logits = []
    for graph in cut, graph_def.read_graph(path):
        with tf.Graph().as_default(), tf.Session() as session:
            graph_def.import_graph(graph)
            logits.append(session.run('predictions:0', {'inputs:0': inputs}))
    np.testing.assert_array_equal(*logits)

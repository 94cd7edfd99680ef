"""Inference in other runtimes, as far as it can be tested without installing them."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from benchmarks import inference
from benchmarks.runtimes import client
from permafrost import runtime
from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs import graph_def
from tests.processes import ROOT

# A server without a network, whose library prints to stdout.
FAKE_SERVER = '''
from benchmarks.runtimes import server
calls = []

def load(path, threads):
    print('a line of the library', flush=True)
    if threads > 2:
        raise ValueError('too many\\nthreads')
    def bind(array):
        return (lambda: calls.append(array.shape),
                lambda: array.reshape(len(array), -1)[:, :10] + len(path))
    return bind

server.serve_inference('1.0', load)
'''


@pytest.fixture(scope='module')
def fake(tmp_path_factory):
    folder = tmp_path_factory.mktemp('fake')
    (folder / 'fake_server.py').write_text(FAKE_SERVER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', str(folder))
        patch.setattr(client, 'python', lambda environment: sys.executable)
        patch.setitem(client.SERVERS, 'fake', client.Server('fake_server', ''))
        server = client.Runtime('fake')
    with server:
        yield server


def test_a_server_answers_although_its_library_prints(fake):
    assert fake.version == '1.0'
    assert fake.ask(load='m', path='p', shape=[2, 4, 4, 3], threads=1) == {}
    answer = fake.ask(time='m', warmup=1, runs=5)
    assert set(answer) == {'median'} and answer['median'] > 0


def test_a_server_predicts_every_image_once(fake, tmp_path):
    images = np.random.RandomState(1).randint(0, 256, (25, 4, 4, 3)).astype(np.uint8)
    np.save(str(tmp_path / 'images.npy'), images)
    fake.ask(predict='p', images=str(tmp_path / 'images.npy'), batch_size=10,
             output=str(tmp_path / 'output.npy'))
    expected = np.argmax(images.reshape(25, -1)[:, :10] + 1, 1)
    np.testing.assert_array_equal(np.load(str(tmp_path / 'output.npy')), expected)


def test_a_server_reports_an_error_in_one_line_and_continues(fake):
    with pytest.raises(UserError, match='fake: too many threads'):
        fake.ask(load='m', path='p', shape=[1, 4, 4, 3], threads=3)
    assert fake.ask(load='m', path='p', shape=[1, 4, 4, 3], threads=1) == {}


def test_every_runtime_has_a_module_and_an_environment():
    environments = {row.environment for row in client.CONVERTERS.values()}
    for server in client.SERVERS.values():
        assert os.path.exists(os.path.join(ROOT, server.module.replace('.', '/') + '.py'))
        environments.add(server.environment)
    for environment in environments:
        assert os.path.exists(os.path.join(ROOT, 'requirements', environment + '.txt'))
    for converter in client.CONVERTERS.values():
        converter.arguments.format(graph='g', node='n', size=1, output='o')
    assert set(client.CONVERTERS) <= set(client.SERVERS)


def test_setup_knows_the_environments():
    for environment in {client.SERVERS[name].environment for name in client.CONVERTERS}:
        done = subprocess.run(
            [os.path.join(ROOT, 'tools', 'setup.sh'), environment], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=60,
            env=dict(os.environ, PERMAFROST_CACHE='/dev/null'))  # known, but nowhere to build it
        assert 'unknown engine' not in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(runtime.installed() != 'tf2', reason='tf2 converts')
def test_tensorflow_converts_for_litert(tmp_path, monkeypatch):
    monkeypatch.setattr(client, 'python', lambda environment: sys.executable)
    network = str(tmp_path / 'network.pb')
    inference.extract_network(os.path.join(ROOT, 'trained_models', 'squeeze1.pb'), 24, network)
    path = client.convert('litert', network, 'inputs', 24, str(tmp_path))
    interpreter = tf.lite.Interpreter(path)
    assert list(interpreter.get_input_details()[0]['shape']) == [1, 24, 24, 3]
    assert list(interpreter.get_output_details()[0]['shape']) == [1, 10]
    with pytest.raises(UserError, match='litert could not convert'):
        client.convert('litert', str(tmp_path / 'missing.pb'), 'inputs', 24, str(tmp_path))


def test_the_extracted_network_computes_the_same_logits(tmp_path):
    path = os.path.join(ROOT, 'trained_models', 'squeeze1.pb')
    inference.extract_network(path, 24, str(tmp_path / 'network.pb'))
    network = graph_def.read_graph(str(tmp_path / 'network.pb'))
    placeholder, = [node for node in network.node if node.op == 'Placeholder']
    assert placeholder.name == 'inputs' and not graph_def.accepts_raw_images(network)
    assert [d.size for d in placeholder.attr['shape'].shape.dim] == [-1, 24, 24, 3]
    inputs = np.random.RandomState(1).standard_normal((2, 24, 24, 3))
    logits = []
    for graph in network, graph_def.read_graph(path):
        with tf.Graph().as_default(), tf.Session() as session:
            graph_def.import_graph(graph)
            logits.append(session.run('predictions:0', {'inputs:0': inputs}))
    np.testing.assert_array_equal(*logits)

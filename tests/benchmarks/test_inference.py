"""Inference in other runtimes, as far as it can be tested without installing them."""

import os

import numpy as np
import pytest

from benchmarks import inference, runner
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.runtimes import client
from tests.evaluation.runtimes.environments import needs
from tests.export.helpers import logits_of
from tests.processes import ROOT

GRAPH = os.path.join(ROOT, 'trained_models', 'squeeze1.pb')
INPUTS = np.random.RandomState(1).standard_normal((2, 24, 24, 3)).astype(np.float32)


def test_openvino_reads_the_network_alone(tmp_path):
    path = inference.convert('openvino', GRAPH, 'inputs', str(tmp_path))
    network = graph_def.read_graph(path)
    placeholder, = [node for node in network.node if node.op == 'Placeholder']
    assert placeholder.name == 'inputs' and 'images' not in {node.name for node in network.node}
    np.testing.assert_array_equal(*(logits_of(graph_def.read_graph(each), INPUTS, feed='inputs')
                                    for each in (path, GRAPH)))
    os.truncate(path, 0)
    assert inference.convert('openvino', GRAPH, 'inputs', str(tmp_path)) == path
    assert os.path.getsize(path) == 0  # it is made once


@pytest.mark.slow
@pytest.mark.parametrize('name', [
    pytest.param(name, marks=needs(name, 'tf2')) for name in ('litert', 'onnxruntime')])
def test_a_converted_network_is_timed(name, tmp_path):
    path = inference.convert(name, GRAPH, 'inputs', str(tmp_path))
    with client.runtime(name) as child:
        child.ask(load='m', path=path, shape=[2, 24, 24, 3], threads=1)
        assert child.ask(time='m', warmup=1, runs=3)['median'] > 0


def test_a_network_without_a_graph_is_trained_on_the_dataset_of_the_flags(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(runner, 'run_script', lambda *command: commands.append(command))
    inference._frozen_graph('resnet110', str(tmp_path), runner.Options(data_dir='/data'))
    assert {'--model=resnet110', '--data_dir=/data'} < set(commands[0])

"""The real conversion, run by the interpreter of TensorFlow Lite Micro."""

import ctypes
import os
import re
import subprocess

import numpy as np
import pytest

from permafrost.evaluation.runtimes import client
from permafrost.export.conversion.source_graph import SourceGraph
from permafrost.export.tflite_micro import conversion
from tests import networks
from tests.evaluation.runtimes.environments import needs
from tests.export.helpers import logits_of, untrained

pytestmark = [pytest.mark.slow, needs('tf2', conversion.ENVIRONMENT)]
RANDOM = np.random.RandomState(1)
IMAGES = RANDOM.randint(0, 256, (60, 32, 32, 3)).astype(np.uint8)
CLASSES = [f'class {i}' for i in range(10)]


def make_source(model, *recipe):
    with networks.registered():
        graph, logits = untrained(model, IMAGES, *recipe)
    predicted = logits.argmax(1)
    return SourceGraph(f'{model}.pb', graph, CLASSES, IMAGES, IMAGES, predicted, True, predicted,
                       {})


@pytest.fixture(scope='module')
def source():
    return make_source('normed')


@pytest.fixture(scope='module')
def converted(source, tmp_path_factory):
    """The folder with the C source, the model in it, the facts, and the share of equal answers."""
    folder = tmp_path_factory.mktemp('tflm')
    contents, model, predicted, facts = conversion.convert(source, str(folder / 'net-1.tflm'))
    for path, content in contents.items():
        with open(path, 'wb') as stream:
            stream.write(content)
    return folder, model, facts, np.mean(predicted == source.predicted)


def test_the_micro_interpreter_answers_as_the_frozen_graph(converted):
    folder, _, facts, agreement = converted
    assert sorted(os.listdir(folder)) == ['net-1.tflm.cc', 'net-1.tflm.h']
    assert agreement > 0.9
    assert facts['ops_to_register'] == ['AddConv2D', 'AddMaxPool2D', 'AddMean']
    assert facts['input']['shape'] == [1, 24, 24, 3] and facts['input']['dtype'] == 'int8'
    assert facts['preprocessing']['normalize'] == 'per_image'
    assert facts['runtime']['name'] == 'tflite-micro' and facts['runtime']['version']


def test_the_c_source_computes_what_was_measured(source, converted, tmp_path):
    """Its preprocessing feeds its model, byte for byte from the compiled file, in its arena."""
    folder, model, facts, _ = converted
    library = tmp_path / 'net.so'
    subprocess.check_call(['c++', '-shared', '-fPIC', '-o', library, folder / 'net-1.tflm.cc'])
    compiled = ctypes.CDLL(str(library))
    content = bytes((ctypes.c_ubyte * len(model)).in_dll(compiled, 'net_1_model'))
    assert content == model
    inputs = np.zeros((len(IMAGES), *facts['input']['shape'][1:]), np.int8)
    for image, row in zip(IMAGES, inputs):
        compiled.net_1_preprocess(image.ctypes.data_as(ctypes.c_void_p),
                                  row.ctypes.data_as(ctypes.c_void_p))
    (tmp_path / 'model.tflite').write_bytes(content)
    np.save(tmp_path / 'inputs.npy', inputs)
    header = (folder / 'net-1.tflm.h').read_text()
    arena_bytes = int(re.search('NET_1_ARENA_BYTES ([0-9]+)$', header, re.M)[1])
    assert arena_bytes == facts['arena_bytes']
    with client.Child(conversion.MODULE, conversion.ENVIRONMENT) as child:
        child.ask(predict=str(tmp_path / 'model.tflite'), arena_bytes=arena_bytes,
                  inputs=str(tmp_path / 'inputs.npy'), output=str(tmp_path / 'outputs.npy'))
    outputs = np.load(tmp_path / 'outputs.npy')
    logits = (outputs.astype(float) - facts['output']['zero_point']) * facts['output']['scale']
    expected = logits_of(source.graph, IMAGES)
    assert np.abs(logits - expected).max() < 0.1 * np.ptp(expected)
    best = [compiled.net_1_best(row.ctypes.data_as(ctypes.c_void_p)) for row in outputs]
    assert np.mean(np.array(best) == source.predicted) > 0.9

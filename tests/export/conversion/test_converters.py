"""Conversions by the real converters, run in the real runtimes."""

import os
import zipfile

import numpy as np
import pytest

from permafrost.evaluation.runtimes import client
from permafrost.export.conversion import converters
from permafrost.export.formats import FORMATS
from permafrost.inputs import normalization
from tests.evaluation.runtimes.environments import needs
from tests.export.helpers import logits_of, untrained

pytestmark = pytest.mark.slow
TFLITE = pytest.param('tflite', marks=needs(*FORMATS['tflite'].environments))
ONNX = pytest.param('onnx', marks=needs(*FORMATS['onnx'].environments))
IMAGES = np.random.RandomState(1).randint(0, 256, (40, 32, 32, 3)).astype(np.uint8)


TOLERANCES = {'none': 1e-4, 'float16': 2e-2, 'int8': 0.2}


@pytest.mark.parametrize('format', [TFLITE, ONNX])
def test_files_answer_as_the_frozen_graph_with_every_normalization(format, tmp_path):
    """int8 too: what normalizes remains in float, for its divisions would divide by zero."""
    output, labels, sizes = str(tmp_path / f'net.{format}'), ['cat', 'dög'], {}
    with converters.start(format) as child, client.runtime(FORMATS[format].runtime) as running:
        for name in normalization.NORMALIZATIONS:
            graph, _ = untrained('squeeze1', IMAGES, 'squeeze', [f'normalize={name}'])
            expected = logits_of(graph, IMAGES)
            for quantize in TOLERANCES if name == 'per_image' else ['int8']:
                converters.convert(format, graph, output, quantize, calibration=IMAGES,
                                   labels=labels, child=child)
                logits = client.predict(running, output, IMAGES)
                error = np.abs(logits - expected).max() / np.abs(expected - expected.mean()).max()
                assert error < TOLERANCES[quantize], (name, quantize)
                sizes[quantize] = os.path.getsize(output)
    assert sizes['int8'] < 0.35 * sizes['none'] and sizes['float16'] < 0.55 * sizes['none']
    if format == 'onnx':
        assert 'cat\ndög'.encode() in (tmp_path / 'net.onnx').read_bytes()
    else:
        assert zipfile.ZipFile(output).read('labels.txt').decode() == 'cat\ndög'

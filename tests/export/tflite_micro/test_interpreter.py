"""The interpreter of TensorFlow Lite Micro, in its own environment."""

import numpy as np
import pytest

from permafrost.errors import UserError
from permafrost.evaluation.runtimes import client
from permafrost.export.conversion import converters
from permafrost.export.tflite_micro import conversion
from tests import networks
from tests.evaluation.runtimes.environments import needs
from tests.export.helpers import untrained

pytestmark = [pytest.mark.slow, needs('tf2', conversion.ENVIRONMENT)]
INPUTS = np.random.RandomState(1).randn(9, 24, 24, 3).astype(np.float32)


@pytest.fixture(scope='module')
def child():
    with client.Child(conversion.MODULE, conversion.ENVIRONMENT) as started:
        yield started


def convert(model, path):
    with networks.registered():
        graph, _ = untrained(model, np.zeros([1, 32, 32, 3], np.uint8))
    converters.convert('tflite', graph, str(path), 'int8', 'inputs', INPUTS)
    return str(path)


def test_it_describes_and_runs_a_model(child, tmp_path):
    path = convert('normed', tmp_path / 'net.tflite')
    facts = child.ask(describe=path)
    # The input, 24 x 24 x 3, and what conv1 makes of it, 24 x 24 x 16; some kB of structures.
    activations = 24 * 24 * (3 + 16)
    assert activations < facts['arena_bytes'] < activations + 10000
    assert facts['arena_bytes'] % 16 == 0
    assert facts['ops'] == ['CONV_2D', 'MAX_POOL_2D', 'MEAN']
    assert facts['input']['shape'] == [1, 24, 24, 3] and facts['output']['shape'] == [1, 10]
    numbers = (INPUTS / facts['input']['scale']).clip(-100, 100).astype(np.int8)
    np.save(tmp_path / 'inputs.npy', np.concatenate([numbers, numbers]))
    child.ask(predict=path, arena_bytes=facts['arena_bytes'], inputs=str(tmp_path / 'inputs.npy'),
              output=str(tmp_path / 'outputs.npy'))
    outputs = np.load(tmp_path / 'outputs.npy')
    assert outputs.shape == (18, 10) and outputs.dtype == np.int8
    np.testing.assert_array_equal(outputs[:9], outputs[9:])  # in the order of the images
    assert len(np.unique(outputs[:9], axis=0)) == 9


def test_a_model_with_an_operation_that_is_missing_is_refused(child, tmp_path):
    path = convert('tuto', tmp_path / 'tuto.tflite')
    with pytest.raises(UserError, match='^tflite-micro: TensorFlow Lite Micro has no operation '
                       'LOCAL_RESPONSE_NORMALIZATION, which this model needs'):
        child.ask(describe=path)

"""Every model has the same logits in C++ as in Python."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from permafrost.datasets import record_format
from permafrost.inputs import normalization
from tests import networks
from tests.export.helpers import logits_of, some_images, untrained
from tests.label_image.program import OWN, evaluate

# Together these have every kind of layer; the other models are slow tests.
FAST = ('tuto', 'nin_bn', 'resnet20', 'davidnet_tricks', 'sprint', 'xception_mini')
COUNT = 8  # images


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
    for name in sorted(models.MODELS)])
def test_logits_equal_python(name, program, synthetic, tmp_path):
    check_logits(name, (), program, synthetic, tmp_path)


@pytest.mark.parametrize('standardize', sorted(normalization.NORMALIZATIONS))
def test_every_normalization_and_activation(standardize, program, synthetic, tmp_path):
    with networks.registered():
        check_logits('activated', ['standardize=' + standardize, 'image_size=32',
                                   'augmentation=flip'], program, synthetic, tmp_path)


def check_logits(name, changes, program, synthetic, tmp_path):
    images = some_images(synthetic, COUNT)
    graph, expected = untrained(name, images, changes=changes)
    graph = scale_logits(graph, 1 / np.abs(expected).max())
    path = tmp_path / (name + '.pb')
    path.write_bytes(graph.SerializeToString())
    batch = tmp_path / 'batch.bin'
    record_format.encode(images, np.arange(COUNT) % 10).tofile(str(batch))
    answer, probabilities = evaluate(program, str(path), batch, tmp_path, OWN)
    assert answer['images'] == COUNT
    assert (probabilities.argmax(1) == expected.argmax(1)).all()
    # Softmax ignores a constant that is added to all logits.
    logits = np.log(probabilities) * np.abs(expected).max()
    centred, expected_centred = (x - x.mean(1, keepdims=True) for x in (logits, expected))
    np.testing.assert_allclose(centred, expected_centred, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(logits_of(graph, images, 'probabilities'), probabilities,
                               atol=1e-5)


def scale_logits(graph, factor):
    """Multiply the logits of `graph` by `factor`, so that no probability is 0 or 1."""
    for node in graph.node:
        if node.name == 'predictions':
            node.name = 'unscaled'
    node = graph.node.add(name='factor', op='Const')
    node.attr['dtype'].type = tf.float32.as_datatype_enum
    node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(np.float32(factor)))
    node = graph.node.add(name='predictions', op='Mul', input=['unscaled', 'factor'])
    node.attr['T'].type = tf.float32.as_datatype_enum
    return graph

"""Every model runs in C++, with the logits that Python computes."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from permafrost.datasets import record_format
from permafrost.inputs import normalization
from tests import networks
from tests.export.graphs import logits_of, some_images, untrained
from tests.label_image.program import OWN
from tests.label_image.test_accuracy import answers

# Together these have every kind of layer; the others take their time in the slow tests.
ALWAYS = ('tuto', 'nin_bn', 'resnet20', 'davidnet_tricks', 'sprint', 'xception_mini')
COUNT = 8  # images


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow)
    for name in sorted(models.MODELS)])
def test_logits_are_those_of_python(name, program, synthetic, tmp_path):
    _check(name, (), program, synthetic, tmp_path)


@pytest.mark.parametrize('standardize', sorted(normalization.NORMALIZATIONS))
def test_whatever_the_standardization_and_activation(standardize, program, synthetic, tmp_path):
    with networks.registered():
        _check('activated', ['standardize=' + standardize, 'image_size=32'], program, synthetic,
               tmp_path)


def _check(name, changes, program, synthetic, tmp_path):
    images = some_images(synthetic, COUNT)
    graph, expected = untrained(name, images, changes=changes)
    graph = tempered(graph, 1 / np.abs(expected).max())
    path = tmp_path / (name + '.pb')
    path.write_bytes(graph.SerializeToString())
    batch = tmp_path / 'batch.bin'
    record_format.encode(images, np.arange(COUNT) % 10).tofile(str(batch))
    answer, found = answers(program, str(path), batch, tmp_path, OWN)
    assert answer['images'] == COUNT and (found.argmax(1) == expected.argmax(1)).all()
    # The softmax forgets what all logits have in common.
    logits = np.log(found) * np.abs(expected).max()
    centred = [part - part.mean(1, keepdims=True) for part in (logits, expected)]
    np.testing.assert_allclose(centred[0], centred[1], atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(logits_of(graph, images, 'probabilities'), found, atol=1e-5)


def tempered(graph, by):
    """`graph` with its logits times `by`: no probability is 0 or 1."""
    for node in graph.node:
        if node.name == 'predictions':
            node.name = 'untempered'
    node = graph.node.add(name='by', op='Const')
    node.attr['dtype'].type = tf.float32.as_datatype_enum
    node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(np.float32(by)))
    node = graph.node.add(name='predictions', op='Mul', input=['untempered', 'by'])
    node.attr['T'].type = tf.float32.as_datatype_enum
    return graph

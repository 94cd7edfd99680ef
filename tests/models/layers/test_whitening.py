"""Whitening: patches come out unrelated and of one size."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers.net import Net
from tests.models.layer_helpers import evaluate

pytestmark = pytest.mark.usefixtures('default_graph')


def images_to_whiten():
    """Neighbouring pixels and channels go together, as in photographs."""
    noise = np.random.RandomState(5).randn(64, 12, 12, 3)
    smooth = noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2) + noise.mean(3, keepdims=True)
    return smooth.astype(np.float32)


@pytest.mark.parametrize('size, signs', [(3, False), (2, True)])
def test_whitened_patches_are_unrelated(size, signs):
    images = images_to_whiten()
    net = Net(training=True, sample=lambda: images)
    y = net.whiten('whiten', tf.constant(images), size, 1e-6, signs, padding='VALID')
    found, weights = evaluate(y, tf.global_variables()[0])
    count = 3 * size ** 2
    assert weights.shape == (size, size, 3, count * (2 if signs else 1))
    rows = found.reshape(-1, found.shape[-1])
    np.testing.assert_allclose(rows.T.dot(rows)[:count, :count] / len(rows), np.eye(count),
                               atol=1e-3)
    if signs:
        np.testing.assert_array_equal(found[..., count:], -found[..., :count])
    lengths = np.square(weights[..., :count]).sum((0, 1, 2))
    assert (np.diff(lengths) >= 0).all()  # 1 / variance: the largest component comes first
    assert not tf.trainable_variables()


def test_whitening_without_a_sample_is_random():
    net = Net(training=False, seed=4)
    net.whiten('whiten', tf.constant(images_to_whiten()), 2, 1e-2)
    weights, = evaluate(tf.global_variables()[0])
    assert np.isfinite(weights).all() and weights.std() > 0

"""Whitening makes the outputs of a first convolution uncorrelated, with a variance of 1."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers.net import Net
from tests.models.helpers import evaluate

pytestmark = pytest.mark.usefixtures('default_graph')


def images_to_whiten():
    """Return images whose neighbouring pixels and channels are correlated, as in photographs."""
    noise = np.random.RandomState(5).randn(64, 12, 12, 3)
    smooth = noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2) + noise.mean(3, keepdims=True)
    return smooth.astype(np.float32)


@pytest.mark.parametrize('size, with_negatives', [(3, False), (2, True)])
def test_whitened_patches_are_uncorrelated(size, with_negatives):
    images = images_to_whiten()
    net = Net(training=True, sample_images=lambda: images)
    y = net.whiten('whiten', tf.constant(images), size, 1e-6, with_negatives, padding='VALID')
    whitened, weights = evaluate(y, tf.global_variables()[0])
    count = 3 * size ** 2
    assert weights.shape == (size, size, 3, count * (2 if with_negatives else 1))
    rows = whitened.reshape(-1, whitened.shape[-1])
    np.testing.assert_allclose(rows.T.dot(rows)[:count, :count] / len(rows), np.eye(count),
                               atol=1e-3)
    if with_negatives:
        np.testing.assert_allclose(whitened[..., count:], -whitened[..., :count], atol=2e-6)
    lengths = np.square(weights[..., :count]).sum((0, 1, 2))
    assert (np.diff(lengths) >= 0).all()  # 1 / variance: the largest component comes first
    assert not tf.trainable_variables()


def test_epsilon_is_added_to_the_variance():
    images, epsilon = images_to_whiten(), 4.
    net = Net(training=True, sample_images=lambda: images)
    y = net.whiten('whiten', tf.constant(images), 2, epsilon, padding='VALID')
    whitened, weights = evaluate(y, tf.global_variables()[0])
    # A filter is a unit vector / sqrt(v + epsilon), so v / (v + epsilon) is 1 - epsilon * length^2.
    expected = 1 - epsilon * np.square(weights).sum((0, 1, 2))
    assert expected.min() < .3 < .7 < expected.max()
    rows = whitened.reshape(-1, whitened.shape[-1])
    np.testing.assert_allclose(np.square(rows).mean(0), expected, atol=1e-4)


def test_whitening_without_sample_images_is_random():
    net = Net(training=False, seed=4)
    net.whiten('whiten', tf.constant(images_to_whiten()), 2, 1e-2)
    weights, = evaluate(tf.global_variables()[0])
    assert np.isfinite(weights).all() and weights.std() > 0

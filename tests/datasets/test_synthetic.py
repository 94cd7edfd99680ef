"""The synthetic dataset: learnable, balanced and repeatable."""

import numpy as np

from permafrost.datasets import loading
from permafrost.datasets.synthetic import make_synthetic


def test_classes_are_balanced_and_told_apart_by_colour(synthetic):
    images, labels = loading.load(synthetic, 'train')
    assert len(images) == 640 and np.bincount(labels).tolist() == [64] * 10
    assert len(synthetic.splits['train']) == 2
    means = np.stack([images[labels == label].mean((0, 1, 2)) for label in range(10)])
    test_images, test_labels = loading.load(synthetic, 'test')
    distances = ((test_images.mean((1, 2))[:, None] - means) ** 2).sum(-1)
    assert (distances.argmin(1) == test_labels).mean() > 0.9


def test_the_same_seed_gives_the_same_images(synthetic, tmp_path):
    again = make_synthetic(str(tmp_path), train=640, test=500)
    assert again.identity == synthetic.identity
    np.testing.assert_array_equal(loading.load(again, 'train')[0],
                                  loading.load(synthetic, 'train')[0])

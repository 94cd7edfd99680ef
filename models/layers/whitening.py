"""Filters that whiten the patches of images: what a first convolution may begin with.

As in https://arxiv.org/abs/2404.00498, after David Page's "How to train your ResNet", part 8.
"""

import numpy as np


def filters(images, size, epsilon, signs=False):
    """Float32 [size, size, C, size * size * C]: outputs of variance v / (v + epsilon), unrelated.

    Args:
      images: float [N, H, W, C], preprocessed.
      epsilon: added to the variances v of the principal components, which come in falling order.
      signs: whether to add the negative of each filter: twice as many.
    """
    products = sum(_products(images[first:first + 250], size)
                   for first in range(0, len(images), 250))  # 50 MB at a time
    places = (images.shape[1] - size + 1) * (images.shape[2] - size + 1)
    variances, vectors = np.linalg.eigh(products / (len(images) * places))
    vectors = vectors[:, ::-1] / np.sqrt(variances[::-1] + epsilon)
    # LAPACKs differ in the sign of a vector: the largest number of each is made positive.
    largest = vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])]
    vectors = vectors * np.sign(largest)
    vectors = np.concatenate([vectors, -vectors], 1) if signs else vectors
    return vectors.reshape(size, size, images.shape[3], -1).astype(np.float32)


def _products(images, size):
    """The sum over all patches of the products of their numbers, two at a time."""
    count, height, width, channels = images.shape
    patches = np.lib.stride_tricks.as_strided(  # without a copy
        images, (count, height - size + 1, width - size + 1, size, size, channels),
        images.strides[:3] + images.strides[1:], writeable=False)
    patches = patches.reshape(-1, size * size * channels).astype(np.float64)
    return patches.T.dot(patches)

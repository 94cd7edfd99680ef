"""Filters that whiten the patches of images: the initial weights of a first convolution.

As in https://arxiv.org/abs/2404.00498, after David Page's "How to train your ResNet", part 8.
"""

import numpy as np

CHUNK_IMAGES = 250  # 50 MB of patches at a time


def whitening_filters(images: np.ndarray, size: int, epsilon: float,
                      with_negatives: bool = False) -> np.ndarray:
    """Return float32 filters [size, size, C, size * size * C] whose outputs are uncorrelated.

    They are the principal components of patches of `images`, float [N, H, W, C], in falling order
    of their variances v; the outputs have a variance of v / (v + epsilon). `with_negatives` adds
    the negative of each filter.
    """
    products = sum(_patch_products(images[first:first + CHUNK_IMAGES], size)
                   for first in range(0, len(images), CHUNK_IMAGES))
    positions = (images.shape[1] - size + 1) * (images.shape[2] - size + 1)
    variances, vectors = np.linalg.eigh(products / (len(images) * positions))
    vectors = vectors[:, ::-1] / np.sqrt(variances[::-1] + epsilon)
    # LAPACKs differ in the sign of a vector: make the largest number of each positive.
    largest = vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])]
    vectors = vectors * np.sign(largest)
    vectors = np.concatenate([vectors, -vectors], 1) if with_negatives else vectors
    return vectors.reshape(size, size, images.shape[3], -1).astype(np.float32)


def _patch_products(images: np.ndarray, size: int) -> np.ndarray:
    """Return the sum, over all patches, of the products of each two of their numbers."""
    count, height, width, channels = images.shape
    patches = np.lib.stride_tricks.as_strided(  # without a copy
        images, (count, height - size + 1, width - size + 1, size, size, channels),
        images.strides[:3] + images.strides[1:], writeable=False)
    patches = patches.reshape(-1, size * size * channels).astype(np.float64)
    return patches.T.dot(patches)

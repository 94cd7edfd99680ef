"""Test-time augmentation: views of an image whose logits are averaged.

Views are made from images as decoded, so they pass through the same preprocessing as the image
itself, and a frozen graph accepts them too.
"""

from typing import Callable, Dict, List, Tuple

import numpy as np

Views = List[Tuple[float, np.ndarray]]  # (weight, uint8 [N, H, W, 3])


def flip(images: np.ndarray) -> Views:
    """Return the images and their mirror images."""
    return [(0.5, images), (0.5, images[:, :, ::-1])]


def flip_shift(images: np.ndarray) -> Views:
    """Return `flip` of the images and of two one-pixel shifts: down right, up left.

    Reference: Jordan, https://arxiv.org/abs/2404.00498.
    """
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], 'reflect')
    views = []
    for weight, shifted in ((0.5, images), (0.25, padded[:, :-2, :-2]), (0.25, padded[:, 2:, 2:])):
        views += [(weight * share, view) for share, view in flip(shifted)]
    return views


# The images themselves are the first view; the weights sum to 1.
TTA: Dict[str, Callable[[np.ndarray], Views]] = {
    'none': lambda images: [(1., images)], 'flip': flip, 'flip_shift': flip_shift}

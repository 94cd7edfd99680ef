"""Test-time augmentation: the views of an image whose logits are averaged.

Views are made of images as decoded, so that they go through the very preprocessing of the others,
and a frozen graph can be given them too.
"""

import numpy as np


def none(images):
    return [(1., images)]


def flip(images):
    """The image and its mirror image."""
    return [(0.5, images), (0.5, images[:, :, ::-1])]


def flip_shift(images):
    """Both, and both moved by a pixel up and left, and down and right (arXiv:2404.00498)."""
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], 'reflect')
    views = []
    for weight, view in ((0.5, images), (0.25, padded[:, :-2, :-2]), (0.25, padded[:, 2:, 2:])):
        views += [(weight * share, seen) for share, seen in flip(view)]
    return views


# Each gives [(weight, uint8 images [N, H, W, 3])], the images themselves first; weights sum to 1.
TTA = {function.__name__: function for function in (none, flip, flip_shift)}

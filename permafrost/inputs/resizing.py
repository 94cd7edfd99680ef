"""Smaller images of a preprocessed batch, for progressive resizing."""

import tensorflow.compat.v1 as tf

from models.layers import random_seeds
from permafrost.inputs.augmentation import Numbers, Params, apply_params


def smaller(images: tf.Tensor, mode: str, size: int, seed: int, step: Numbers) -> tf.Tensor:
    """Return float32 [B, h, w, 3] as [B, size, size, 3]; unchanged if that is their size.

    Mode 'crop' cuts a random part out of each image: the same for the same `seed` and `step`.
    Mode 'resize' shrinks the image; each pixel is the mean of the area that it covers.
    """
    count, height, width, _ = images.shape.as_list()
    if (height, width) == (size, size):
        return images
    if mode == 'resize':
        return tf.image.resize_area(images, [size, size])
    draws = tf.random.stateless_uniform(
        [count, 2], random_seeds.seeds(seed, 'progressive_resizing', step))
    offset = tf.floor(draws * [height - size + 1., width - size + 1.])
    return apply_params(images, Params(offset, tf.zeros([count, 1], tf.bool)), size, size)

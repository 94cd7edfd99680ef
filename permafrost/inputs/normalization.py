"""Standardizations: what is done to pixels, the same in training and in a frozen graph.

Each is made of operations that a frozen graph may hold (export.ALLOWED).
"""

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.errors import unknown_name_error
from permafrost.inputs.statistics import YUV

NEIGHBOURHOOD = 7  # pixels
LEAST = 1.  # of 255: a channel that deviates less, as one that is always 0, is not spread


def per_image(images, unused_statistics):
    """Mean 0 and deviation 1 for each image; a flat image is divided by 1 / sqrt(n)."""
    _, height, width, channels = images.shape.as_list()
    values = [1, 2, 3]
    centred = images - tf.reduce_mean(images, values, keepdims=True)
    deviation = tf.sqrt(tf.reduce_mean(tf.square(centred), values, keepdims=True))
    return centred * (1 / tf.maximum(deviation, (height * width * channels) ** -0.5))


def per_channel(images, statistics):
    """Mean 0 and deviation 1 of each channel over the training images."""
    _, height, width, channels = images.shape.as_list()
    mean, deviation = np.array(statistics, np.float32).reshape(2, channels)
    # By rows: Eigen is slow where the last dimension is as short as the 3 channels.
    rows = tf.reshape(images, [-1, height, width * channels])
    rows = (rows - np.tile(mean, width)) * np.tile(1 / np.maximum(deviation, LEAST), width)
    return tf.reshape(rows, [-1, height, width, channels])


def per_pixel(images, statistics):
    """The mean training image subtracted (Krizhevsky et al. 2012), all in one deviation."""
    mean = np.array(statistics[:-1], np.float32).reshape(images.shape.as_list()[1:])
    return (tf.cast(images, tf.float32) - mean) * np.float32(1 / max(statistics[-1], LEAST))


def yuv_local(images, statistics):
    """Y by what is around it, U and V by the training images.

    From Y the mean of its neighbourhood of 7x7, weighted by a Gaussian, is subtracted; it is
    divided by the deviation there, or by the image's mean deviation where that is more. As in
    http://torch.ch/blog/2015/07/30/cifar.html.
    """
    _, height, width, _ = images.shape.as_list()
    colours = tf.matmul(tf.reshape(tf.cast(images, tf.float32), [-1, 3]),
                        YUV.astype(np.float32))
    colours = tf.reshape(colours, [-1, height, width, 3])
    away = np.arange(NEIGHBOURHOOD) - NEIGHBOURHOOD // 2
    weights = np.exp(-0.5 * np.square(away / (0.25 * NEIGHBOURHOOD)))
    across = (weights / weights.sum()).astype(np.float32)
    inside = np.outer(*(np.convolve(np.ones(n), across, 'same') for n in (height, width)))

    def around(maps):
        """Weighted means of the neighbourhoods, of what of them lies in the image."""
        for shape in ([NEIGHBOURHOOD, 1, 1, 1], [1, NEIGHBOURHOOD, 1, 1]):
            maps = tf.nn.conv2d(maps, across.reshape(shape), [1, 1, 1, 1], 'SAME')
        return maps * (1 / inside)[None, :, :, None].astype(np.float32)

    luma = colours[..., :1]
    luma = luma - around(luma)
    deviation = tf.sqrt(around(tf.square(luma)))
    least = tf.maximum(tf.reduce_mean(deviation, [1, 2, 3], keepdims=True), 1e-4)
    mean, deviations = np.array(statistics, np.float32).reshape(2, 2)
    return tf.concat([luma / tf.maximum(deviation, least),
                      (colours[..., 1:] - mean) / np.maximum(deviations, LEAST)], 3)


NORMALIZATIONS = {function.__name__: function for function in (
    per_image, per_channel, per_pixel, yuv_local)}
WHOLE = ('per_pixel', 'yuv_local')  # they need the image before anything is cut from it


def normalization(name, statistics=()):
    """What to do before an image is cut, and what after: functions of images [N, H, W, 3].

    `statistics` are those of the training images; see permafrost.statistics. Raises UsageError
    for an unknown name.
    """
    if name not in NORMALIZATIONS:
        raise unknown_name_error('standardization', name, NORMALIZATIONS)

    def apply(images):
        return NORMALIZATIONS[name](images, statistics)

    def nothing(images):
        return images
    return (apply, nothing) if name in WHOLE else (nothing, apply)

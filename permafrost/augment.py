"""A batch of images -> a batch of images: distorted to train on, or centred to evaluate.

Everything here works on whole batches. Each augmentation only decides what happens to each
image, as one value per image in a `Distortion`; `distort` then does all of it in one
resampling and one multiply-add. That takes about 10 microseconds of one core an image,
where ops image by image take hundreds.
"""

from typing import NamedTuple, Union

import tensorflow.compat.v1 as tf

from models import streams
from permafrost import config


class Distortion(NamedTuple):
    """What happens to the images of a batch, in this order."""
    corner: tf.Tensor  # float32 [B, 2]: the top row and the left column of the crop
    mirror: tf.Tensor  # bool [B, 1]: swap left and right
    contrast: Union[float, tf.Tensor] = 1.  # [B, 1]: factor about each channel's mean
    brightness: Union[float, tf.Tensor] = 0.  # [B, 1]: added, of 255


# An augmentation takes a Distortion, the room that the crop leaves (rows, columns: float32
# [2]), and a function that draws n numbers from [0, 1) for each image: float32 [B, n].

def crop(now, room, uniform):
    """Cuts at a random place, all of them equally likely."""
    return now._replace(corner=tf.floor(uniform(2) * (room + 1)))


def flip(now, room, uniform):
    """Mirrors every other image, at random."""
    return now._replace(mirror=uniform(1) < 0.5)


def brightness(now, room, uniform, most=63.):
    """Adds a random number, the same for the whole image."""
    return now._replace(brightness=now.brightness + most * (2 * uniform(1) - 1))


def contrast(now, room, uniform, low=0.2, high=1.8):
    """Spreads or narrows each channel about its mean by a random factor."""
    return now._replace(contrast=now.contrast * (low + (high - low) * uniform(1)))


AUGMENTATIONS = {function.__name__: function for function in (crop, flip, brightness, contrast)}


def per_image(images):
    """Mean 0 and deviation 1 for each image; a flat image is divided by 1 / sqrt(n) at most."""
    _, height, width, channels = images.shape.as_list()
    values = [1, 2, 3]
    centred = images - tf.reduce_mean(images, values, keepdims=True)
    deviation = tf.sqrt(tf.reduce_mean(tf.square(centred), values, keepdims=True))
    return centred * (1 / tf.maximum(deviation, (height * width * channels) ** -0.5))


STANDARDIZE = {function.__name__: function for function in (per_image,)}


def choose(images, recipe, seed, step, part=(0, 1)):
    """The Distortion that `recipe` gives to `images`, from the random stream of `seed`.

    `images` are the k-th of n equal parts of a batch, `part` = (k, n); all n together are
    distorted as the batch would be.
    """
    count = images.shape.as_list()[0]
    room = _room(images, recipe)
    chosen = Distortion(tf.tile([[float(side // 2) for side in room]], [count, 1]),
                        tf.zeros([count, 1], tf.bool))
    for name in recipe.augmentation:
        if name not in AUGMENTATIONS:
            raise config.nearest('augmentation', name, AUGMENTATIONS)
        key = streams.seeds(seed, name, step)
        chosen = AUGMENTATIONS[name](
            chosen, tf.constant(room, tf.float32),
            lambda n, key=key: tf.split(
                tf.random.stateless_uniform([count * part[1], n], key), part[1])[part[0]])
    return chosen


def distort(images, distortion, size):
    """Cuts `size` x `size` from uint8 [B, H, W, 3] and distorts it: float32, not clipped."""
    count, height, width, _ = images.shape.as_list()
    top, left = tf.unstack(distortion.corner, axis=1)
    right, mirror = left + size - 1, distortion.mirror[:, 0]
    # A box from right to left comes out mirrored; 'nearest' takes the very pixels.
    boxes = tf.stack([top / (height - 1), tf.where_v2(mirror, right, left) / (width - 1),
                      (top + size - 1) / (height - 1),
                      tf.where_v2(mirror, left, right) / (width - 1)], 1)
    images = tf.image.crop_and_resize(images, boxes, method='nearest', crop_size=[size, size],
                                      box_indices=tf.range(count))
    if not (tf.is_tensor(distortion.contrast) or tf.is_tensor(distortion.brightness)):
        return images
    # By rows: Eigen is slow where the last dimension is as short as the 3 channels.
    rows = tf.reshape(images, [count, size, size * 3])
    means = tf.reduce_mean(tf.reshape(tf.reduce_mean(rows, 1), [count, size, 3]), 1)
    shift = (1 - distortion.contrast) * means + distortion.brightness
    rows = rows * tf.reshape(distortion.contrast + tf.zeros([count, 1]), [count, 1, 1])
    rows += tf.reshape(tf.tile(shift, [1, size]), [count, 1, size * 3])
    return tf.reshape(rows, [count, size, size, 3])


def training(images, recipe, seed, step, part=(0, 1)):
    """What the network sees in training: uint8 [B, H, W, 3] -> float32 [B, h, w, 3].

    B must be known. The same `seed` and `step` (a number or a scalar tensor) distort in
    the same way; `part`: see choose.
    """
    distorted = distort(images, choose(images, recipe, seed, step, part), recipe.image_size)
    return _standardize(distorted, recipe)


def evaluation(images, recipe):
    """What the network sees otherwise: the centre, standardized. uint8 -> float32.

    This goes into the frozen graph: slices, reductions and elementwise ops alone.
    """
    (top, left), size = (side // 2 for side in _room(images, recipe)), recipe.image_size
    centre = images[:, top:top + size, left:left + size]
    return _standardize(tf.cast(centre, tf.float32), recipe)


def _standardize(images, recipe):
    if recipe.standardize not in STANDARDIZE:
        raise config.nearest('standardization', recipe.standardize, STANDARDIZE)
    return STANDARDIZE[recipe.standardize](images)


def _room(images, recipe):
    """The rows and columns that a crop leaves over."""
    room = [side - recipe.image_size for side in images.shape.as_list()[1:3]]
    if min(room) < 0 or recipe.image_size < 1:
        raise config.UserError(
            'image_size=%d cannot be cut from images of %dx%d: choose 1 to %d' %
            ((recipe.image_size,) + tuple(images.shape.as_list()[1:3])
             + (min(images.shape.as_list()[1:3]),)))
    return room

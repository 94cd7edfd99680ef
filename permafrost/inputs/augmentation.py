"""A batch of images -> a batch of images: distorted to train on, or centred to evaluate.

Everything here works on whole batches. Each augmentation only decides what happens to each
image, as one value per image in a `Distortion`; `distort` then does all of it in one
resampling and one multiply-add. That takes 10 to 15 microseconds of one core an image, where
ops image by image take hundreds.
"""

from typing import NamedTuple, Union

import numpy as np
import tensorflow.compat.v1 as tf

from models.layers import random_seeds
from permafrost.errors import UsageError, UserError, unknown_name_error
from permafrost.inputs import normalization


class AugmentParams(NamedTuple):
    """What happens to the images of a batch, in this order."""
    corner: tf.Tensor  # float32 [B, 2]: the top row and the left column of the crop
    mirror: tf.Tensor  # bool [B, 1]: swap left and right
    contrast: Union[float, tf.Tensor] = 1.  # [B, 1]: factor about each channel's mean
    brightness: Union[float, tf.Tensor] = 0.  # [B, 1]: added, of 255
    hole: Union[float, tf.Tensor] = 0.  # [B, 2]: where a square is set to zero, of the room
    hole_side: int = 0  # pixels; 0: no square
    turn: Union[bool, tf.Tensor] = False  # [B]: to be mirrored in this epoch, not in the next


# An augmentation takes a Distortion, the room that the crop leaves (rows, columns: float32
# [2]), a function that draws n numbers from [0, 1) for each image: float32 [B, n], and, where the
# recipe gives one, a number.

def crop(now, room, uniform, pixels=float('inf')):
    """Cuts at a random place, at most so many pixels off the centre; all are equally likely."""
    first = tf.maximum(room // 2 - pixels, 0.)
    last = tf.minimum(room // 2 + pixels, room)
    return now._replace(corner=first + tf.floor(uniform(2) * (last - first + 1)))


def pad_crop(now, room, uniform, pixels=4):
    """Moves the image by up to so many pixels; what comes in is black, or the mean image."""
    return crop(now, room, uniform)  # padded already: see PADDING


def reflect_crop(now, room, uniform, pixels=4):
    """As pad_crop, but what comes in mirrors what is beside it."""
    return crop(now, room, uniform)


PADDING = {'pad_crop': 'CONSTANT', 'reflect_crop': 'REFLECT'}


def flip(now, room, uniform):
    """Mirrors every other image, at random."""
    return now._replace(mirror=uniform(1) < 0.5)


def alternate_flip(now, room, uniform):
    """Mirrors each image in every other epoch; in which ones is random.

    https://arxiv.org/abs/2404.00498: two epochs show all that there is of an image.
    """
    if not tf.is_tensor(now.turn):
        raise UserError('alternate_flip counts the epochs of each image: use '
                               '--source=memory, or flip in its place')
    return now._replace(mirror=now.turn[:, None])


def cutout(now, room, uniform, side=8):
    """Sets a square to zero, after standardization (https://arxiv.org/abs/1708.04552)."""
    return now._replace(hole=uniform(2), hole_side=int(side))


def brightness(now, room, uniform, most=63.):
    """Adds a random number, the same for the whole image."""
    return now._replace(brightness=now.brightness + most * (2 * uniform(1) - 1))


def contrast(now, room, uniform, low=0.2, high=1.8):
    """Spreads or narrows each channel about its mean by a random factor."""
    return now._replace(contrast=now.contrast * (low + (high - low) * uniform(1)))


AUGMENTATIONS = {function.__name__: function for function in (
    crop, pad_crop, reflect_crop, flip, alternate_flip, cutout, brightness, contrast)}
STANDARDIZE = normalization.NORMALIZATIONS


def _parsed(recipe):
    """[(name, [number])] of the augmentations of `recipe`. Raises UsageError for unknown ones."""
    found = []
    for text in recipe.augmentation:
        name, _, number = text.partition(':')
        if name not in AUGMENTATIONS:
            raise unknown_name_error('augmentation', name, AUGMENTATIONS)
        try:
            found.append((name, [float(number)] if number else []))
            if number and AUGMENTATIONS[name].__defaults__ is None:
                raise ValueError('it takes none')
            if number and not 0 <= float(number) < float('inf'):
                raise ValueError('it must be 0 or more')
        except ValueError as error:
            raise UsageError('augmentation %r has a wrong number (%s)' % (text, error))
    return found


def _pad(images, recipe):
    """`images` with the borders that pad_crop or reflect_crop cut from."""
    for name, number in _parsed(recipe):
        if name in PADDING:
            by = int(number[0] if number else AUGMENTATIONS[name].__defaults__[0])
            least = min(images.shape.as_list()[1:3])
            if by >= least:
                raise UsageError('%s:%d moves images of %d pixels out of sight' % (
                    name, by, least))
            images = tf.pad(images, [[0, 0], [by, by], [by, by], [0, 0]], PADDING[name])
    return images


def sample_params(images, recipe, seed, step, part=(0, 1), turn=False):
    """The Distortion that `recipe` gives to `images`, from the random stream of `seed`.

    `images` are the k-th of n equal parts of a batch, `part` = (k, n); all n together are
    distorted as the batch would be. `turn`: see Distortion.
    """
    count = images.shape.as_list()[0]
    room = _room(images, recipe)
    chosen = AugmentParams(tf.tile([[float(side // 2) for side in room]], [count, 1]),
                        tf.zeros([count, 1], tf.bool), turn=turn)
    for name, number in _parsed(recipe):
        key = random_seeds.seeds(seed, name, step)
        chosen = AUGMENTATIONS[name](
            chosen, tf.constant(room, tf.float32),
            lambda n, key=key: tf.split(
                tf.random.stateless_uniform([count * part[1], n], key), part[1])[part[0]],
            *number)
    return chosen


def apply_params(images, distortion, size):
    """Cuts `size` x `size` from [B, H, W, 3] and distorts it: float32, not clipped."""
    count, height, width, _ = images.shape.as_list()
    top, left = tf.unstack(distortion.corner, axis=1)

    def edges(first, side):
        """Of 1 from the first pixel to the last. The outermost are drawn in a little: one that
        rounding puts outside by a millionth would come out black."""
        return [tf.clip_by_value(edge, 0.1, side - 1.1) / (side - 1)
                for edge in (first, first + size - 1)]
    (above, below), (near, far) = edges(top, height), edges(left, width)
    mirror = distortion.mirror[:, 0]
    # A box from right to left comes out mirrored; 'nearest' takes the very pixels.
    boxes = tf.stack([above, tf.where_v2(mirror, far, near),
                      below, tf.where_v2(mirror, near, far)], 1)
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


def cut_out(images, hole, side):
    """Zeroes a square of `side` pixels in each of float [B, h, w, 3]; see Distortion.hole."""
    count, height, width, channels = images.shape.as_list()
    first = tf.floor(hole * (np.array([height, width]) - side + 1.))  # [B, 2]
    rows = tf.range(height, dtype=tf.float32) - first[:, :1]
    # By rows: see distort.
    columns = tf.constant(np.arange(width * channels) // channels, tf.float32) - first[:, 1:]
    keep = 1 - tf.cast((rows >= 0) & (rows < side), tf.float32)[:, :, None] * tf.cast(
        (columns >= 0) & (columns < side), tf.float32)[:, None]
    kept = tf.reshape(images, [count, height, width * channels]) * keep
    return tf.reshape(kept, images.shape)


def preprocess_train(images, recipe, seed, step, part=(0, 1), statistics=(), turn=False):
    """What the network sees in training: uint8 [B, H, W, 3] -> float32 [B, h, w, 3].

    B must be known. The same `seed` and `step` (a number or a scalar tensor) distort in
    the same way.

    Args:
      part: see choose.
      statistics: of the training images; see permafrost.statistics.
      turn: bool [B], or False where it is not known; see Distortion.
    """
    before, after = normalization.normalization(recipe.standardize, statistics)
    _room(images, recipe)  # evaluation has no padding to cut from
    images = _pad(before(images), recipe)
    chosen = sample_params(images, recipe, seed, step, part, turn)
    images = after(apply_params(images, chosen, recipe.image_size))
    if not tf.is_tensor(chosen.hole):
        return images
    if not 0 < chosen.hole_side <= recipe.image_size:
        raise UsageError('cutout:%d does not fit into images of %d pixels' % (
            chosen.hole_side, recipe.image_size))
    return cut_out(images, chosen.hole, chosen.hole_side)


def preprocess_eval(images, recipe, statistics=()):
    """What the network sees otherwise: the centre, standardized. uint8 -> float32.

    This goes into the frozen graph: slices, reductions and elementwise ops, and the product and
    convolution of yuv_local.
    """
    before, after = normalization.normalization(recipe.standardize, statistics)
    (top, left), size = (side // 2 for side in _room(images, recipe)), recipe.image_size
    images = before(images)
    if max(images.shape.as_list()[1:3]) > size:
        images = images[:, top:top + size, left:left + size]
    return after(tf.cast(images, tf.float32))


def _room(images, recipe):
    """The rows and columns that a crop leaves over."""
    room = [side - recipe.image_size for side in images.shape.as_list()[1:3]]
    if min(room) < 0 or recipe.image_size < 1:
        raise UserError(
            'image_size=%d cannot be cut from images of %dx%d: choose 1 to %d' %
            ((recipe.image_size,) + tuple(images.shape.as_list()[1:3])
             + (min(images.shape.as_list()[1:3]),)))
    return room

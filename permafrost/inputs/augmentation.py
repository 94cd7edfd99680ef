"""Preprocessing of whole batches: augmented for training, centre-cropped for evaluation.

An augmentation only chooses what happens to each image, as values in Params; `apply_params`
then does all of it in one resampling and one multiply-add. docs/speed.md has the time per
image; separate operations on each image take hundreds of microseconds.
"""

import dataclasses
from typing import Callable, List, NamedTuple, Optional, Sequence, Union

import numpy as np
import tensorflow.compat.v1 as tf

from models.layers import random_seeds
from permafrost.errors import UserError
from permafrost.inputs import normalization
from permafrost.recipes import checks
from permafrost.recipes.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of `count` equal slices of each batch."""
    index: int = 0
    count: int = 1


WHOLE_BATCH = Shard()
Numbers = Union[float, tf.Tensor]


class Params(NamedTuple):
    """The changes to the images of a batch, in the order in which they are made."""
    offset: tf.Tensor  # float32 [B, 2]: the top row and the left column of the crop
    flip: tf.Tensor  # bool [B, 1]: swap left and right
    contrast: Numbers = 1.  # [B, 1]: scales the difference from each channel's mean
    brightness: Numbers = 0.  # [B, 1]: added to the pixels, which are 0 to 255
    cutout: Numbers = 0.  # [B, 2]: row and column of the square set to zero, 0 to 1
    cutout_size: int = 0  # pixels; 0: no square
    flip_now: Optional[tf.Tensor] = None  # bool [B]: alternate_flip flips it now; None: unknown


def preprocess_train(images: tf.Tensor, recipe: Recipe, seed: int, step: Numbers,
                     shard: Shard = WHOLE_BATCH, statistics: Sequence[float] = (),
                     flip_now: Optional[tf.Tensor] = None) -> tf.Tensor:
    """Return the input of the network in training: uint8 [B, H, W, 3] -> float32 [B, h, w, 3].

    The images are slice `shard` of batch number `step`; B must be static. The same `seed` and
    `step` give the same augmentation. See Params for `flip_now`, normalization.fit for
    `statistics`.

    Raises UsageError or UserError if the recipe does not fit the images.
    """
    normalize = normalization.create(recipe.normalize, statistics)
    checks.check(recipe)
    # evaluation has no padding to crop from
    checks.check_images(recipe, *images.shape.as_list()[1:3])
    images = normalize.apply(images) if normalize.before_crop else images
    images = _pad(images, recipe)
    params = sample_params(images, recipe, seed, step, shard, flip_now)
    images = apply_params(images, params, recipe.image_size, recipe.image_size)
    images = images if normalize.before_crop else normalize.apply(images)
    return _cut_out(images, params.cutout, params.cutout_size) if params.cutout_size else images


def teacher_view(images: tf.Tensor, recipe: Recipe, seed: int, step: Numbers,
                 shard: Shard = WHOLE_BATCH, flip_now: Optional[tf.Tensor] = None) -> tf.Tensor:
    """Return the images that preprocess_train shows the student, as decoded: uint8 [B, H, W, 3].

    See there for the arguments. The images are moved, flipped and changed in contrast and
    brightness as the student's are. The centre of each is the student's crop; around it is more of
    the image, mirrored at the edges. A teacher crops the centre, so it sees the student's crop, or
    more or less of the same view. Cutout hides pixels from the student alone. Contrast is about the
    mean of the whole view, which differs a little from that of the crop; a student whose images are
    normalized before the crop has contrast about the mean of its normalized crop.
    """
    height, width = images.shape.as_list()[1:3]
    images = _pad(images, recipe)
    params = sample_params(images, recipe, seed, step, shard, flip_now)
    rows, columns = height - recipe.image_size, width - recipe.image_size
    images = tf.pad(images, [[0, 0], [rows // 2, rows - rows // 2],
                             [columns - columns // 2] * 2, [0, 0]], 'REFLECT')
    # If the number of columns is odd, the extra one is on the right; a flip moves it to the left.
    shift = columns % 2 * (1. - tf.cast(params.flip, tf.float32)) * [[0., 1.]]
    views = apply_params(images, params._replace(offset=params.offset + shift), height, width)
    return tf.saturate_cast(tf.round(views), tf.uint8)


def preprocess_eval(images: tf.Tensor, recipe: Recipe,
                    statistics: Sequence[float] = ()) -> tf.Tensor:
    """Return the input of the network in inference: the centre, normalized; uint8 -> float32.

    These operations go into the frozen graph.
    """
    normalize = normalization.create(recipe.normalize, statistics)
    checks.check_images(recipe, *images.shape.as_list()[1:3])
    top, left = (margin // 2 for margin in _crop_margin(images, recipe))
    size = recipe.image_size
    images = normalize.apply(images) if normalize.before_crop else images
    if max(images.shape.as_list()[1:3]) > size:
        images = images[:, top:top + size, left:left + size]
    images = tf.cast(images, tf.float32)
    return images if normalize.before_crop else normalize.apply(images)


# An augmentation changes Params. It receives the margin that the crop removes (rows, columns:
# float32 [2]), a function that draws n numbers from [0, 1) for each image: float32 [B, n], and the
# numbers that checks.augmentations gives it.
Draw = Callable[[int], tf.Tensor]


def crop(params: Params, margin: tf.Tensor, draw: Draw, pixels: float) -> Params:
    """Crop at random, at most `pixels` off the centre; all positions are equally likely."""
    first = tf.maximum(margin // 2 - pixels, 0.)
    last = tf.minimum(margin // 2 + pixels, margin)
    return params._replace(offset=first + tf.floor(draw(2) * (last - first + 1)))


def pad_crop(params: Params, margin: tf.Tensor, draw: Draw, pixels: float) -> Params:
    """Move the image by up to `pixels`; the new border is black, or the mean image."""
    return crop(params, margin, draw, pixels)  # the images are padded already: see checks.PADDING


def reflect_crop(params: Params, margin: tf.Tensor, draw: Draw, pixels: float) -> Params:
    """Move the image by up to `pixels`; the new border mirrors the pixels next to it."""
    return crop(params, margin, draw, pixels)


def flip(params: Params, margin: tf.Tensor, draw: Draw) -> Params:
    """Flip every image with probability 1/2."""
    return params._replace(flip=draw(1) < 0.5)


def alternate_flip(params: Params, margin: tf.Tensor, draw: Draw) -> Params:
    """Flip each image in every other epoch; whether it starts flipped is random.

    https://arxiv.org/abs/2404.00498: any two epochs in a row show both views of an image.
    """
    if params.flip_now is None:
        raise UserError('alternate_flip counts the epochs of each image: use --source=memory, or '
                        'flip instead')
    return params._replace(flip=params.flip_now[:, None])


def cutout(params: Params, margin: tf.Tensor, draw: Draw, size: float) -> Params:
    """Set a square to zero, after normalization (https://arxiv.org/abs/1708.04552)."""
    return params._replace(cutout=draw(2), cutout_size=int(size))


def brightness(params: Params, margin: tf.Tensor, draw: Draw, max_delta: float) -> Params:
    """Add a random number, up to `max_delta` either way, to all values of an image."""
    return params._replace(brightness=params.brightness + max_delta * (2 * draw(1) - 1))


def contrast(params: Params, margin: tf.Tensor, draw: Draw, low: float, high: float) -> Params:
    """Scale each channel about its mean by a random factor from `low` to `high`."""
    return params._replace(contrast=params.contrast * (low + (high - low) * draw(1)))


AUGMENTATIONS = {function.__name__: function for function in (
    crop, pad_crop, reflect_crop, flip, alternate_flip, cutout, brightness, contrast)}


def sample_params(images: tf.Tensor, recipe: Recipe, seed: int, step: Numbers,
                  shard: Shard = WHOLE_BATCH, flip_now: Optional[tf.Tensor] = None) -> Params:
    """Return the Params that `recipe` draws; see preprocess_train for the arguments.

    Together, the shards of a batch draw the same numbers as the whole batch would.
    """
    count = images.shape.as_list()[0]
    margin = _crop_margin(images, recipe)
    params = Params(offset=tf.tile([[float(side // 2) for side in margin]], [count, 1]),
                    flip=tf.zeros([count, 1], tf.bool), flip_now=flip_now)
    for name, numbers in checks.augmentations(recipe):
        key = random_seeds.seeds(seed, name, step)

        def draw(n, key=key):
            values = tf.random.stateless_uniform([count * shard.count, n], key)
            return tf.split(values, shard.count)[shard.index]

        params = AUGMENTATIONS[name](params, tf.constant(margin, tf.float32), draw, *numbers)
    return params


def apply_params(images: tf.Tensor, params: Params, height: int, width: int) -> tf.Tensor:
    """Return images [B, H, W, 3] cropped to `height` x `width`, augmented: float32, not clipped."""
    count, *sides, _ = images.shape.as_list()
    top, left = tf.unstack(params.offset, axis=1)

    def edges(first, size, side):  # first and last pixel of the crop, as fractions of the side
        # Kept a tenth of a pixel inside: a pixel that rounding puts outside would be black.
        return [tf.clip_by_value(edge, 0.1, side - 1.1) / (side - 1)
                for edge in (first, first + size - 1)]

    (top, bottom), (left, right) = map(edges, (top, left), (height, width), sides)
    flipped = params.flip[:, 0]
    # A box from right to left comes out flipped; 'nearest' copies pixels.
    boxes = tf.stack([top, tf.where_v2(flipped, right, left),
                      bottom, tf.where_v2(flipped, left, right)], 1)
    images = tf.image.crop_and_resize(images, boxes, method='nearest', crop_size=[height, width],
                                      box_indices=tf.range(count))
    if not (tf.is_tensor(params.contrast) or tf.is_tensor(params.brightness)):
        return images
    # On whole rows: Eigen is slow if the last dimension is as short as the 3 channels.
    rows = tf.reshape(images, [count, height, width * 3])
    means = tf.reduce_mean(tf.reshape(tf.reduce_mean(rows, 1), [count, width, 3]), 1)
    shift = (1 - params.contrast) * means + params.brightness
    rows = rows * tf.reshape(params.contrast + tf.zeros([count, 1]), [count, 1, 1])
    rows += tf.reshape(tf.tile(shift, [1, width]), [count, 1, width * 3])
    return tf.reshape(rows, [count, height, width, 3])


def _cut_out(images: tf.Tensor, position: tf.Tensor, size: int) -> tf.Tensor:
    """Return float [B, h, w, 3] with a square of `size` pixels set to zero in each image."""
    count, height, width, channels = images.shape.as_list()
    first = tf.floor(position * (np.array([height, width]) - size + 1.))  # [B, 2]
    rows = tf.range(height, dtype=tf.float32) - first[:, :1]
    # On whole rows: see apply_params.
    columns = tf.constant(np.arange(width * channels) // channels, tf.float32) - first[:, 1:]
    row_mask = tf.cast((rows >= 0) & (rows < size), tf.float32)[:, :, None]
    column_mask = tf.cast((columns >= 0) & (columns < size), tf.float32)[:, None]
    rows = tf.reshape(images, [count, height, width * channels])
    return tf.reshape(rows * (1 - row_mask * column_mask), images.shape)


def _pad(images: tf.Tensor, recipe: Recipe) -> tf.Tensor:
    """Return `images` with the border that pad_crop or reflect_crop needs, if any."""
    for name, numbers in checks.augmentations(recipe):
        if name in checks.PADDING:
            edges = [int(numbers[0])] * 2
            images = tf.pad(images, [[0, 0], edges, edges, [0, 0]], checks.PADDING[name])
    return images


def _crop_margin(images: tf.Tensor, recipe: Recipe) -> List[int]:
    """Return the rows and columns that a crop removes."""
    return [side - recipe.image_size for side in images.shape.as_list()[1:3]]

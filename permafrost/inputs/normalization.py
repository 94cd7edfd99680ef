"""Normalization of the pixels: fit to the training images, applied in training and in inference.

The statistics that `fit` returns travel in config.json, so a run does not depend on their cache.
Each `apply` uses operations that a frozen graph may hold (export/verify.py lists ALLOWED_OPS).
training/setup.py fits before threads are chosen, so TensorFlow is imported where it is used.
"""

import abc
import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Sequence, Tuple, Type

import numpy as np
import tqdm

from permafrost import files, schema
from permafrost.datasets import loading, record_format
from permafrost.errors import UserError, unknown_name_error

if TYPE_CHECKING:
    import tensorflow.compat.v1 as tf

MIN_STD = 1.  # of 255: a channel that varies less, e.g. one that is always 0, is not amplified
CHUNK_BYTES = 8e6  # of images at a time: in float64 eight times as many
NEIGHBOURHOOD = 7  # pixels, of yuv_local
# From R, G, B (rows) to Y, U, V (columns) of analogue television (BT.601).
YUV = np.array([[0.299, -0.14713, 0.615], [0.587, -0.28886, -0.51499], [0.114, 0.436, -0.10001]])


class Normalization(abc.ABC):
    """From pixels to the floats that the network sees."""
    before_crop = False  # whether the whole image must be normalized, before the crop

    def __init__(self, statistics: Sequence[float] = ()):
        self.statistics = statistics

    @staticmethod
    def fit(chunks: Iterable[np.ndarray]) -> Sequence[float]:
        """Return the statistics of the training images, float64 [n, H, W, C] at a time."""
        del chunks
        return ()

    @staticmethod
    def statistics_shape(image_shape: Sequence[int]) -> Tuple[int, ...]:
        """Return the shape of the statistics, for images (H, W, C)."""
        del image_shape
        return (0,)

    def _array(self, images: 'tf.Tensor') -> np.ndarray:
        """Return the statistics as float32. Raises UserError if `images` need more or fewer."""
        shape = self.statistics_shape(images.shape.as_list()[1:])
        if len(self.statistics) != np.prod(shape):
            raise UserError(f'the config.json of this run has {len(self.statistics)} statistics of '
                            f'its images, not {np.prod(shape)}: restore it, or start another run')
        return np.array(self.statistics, np.float32).reshape(shape)

    @abc.abstractmethod
    def apply(self, images: 'tf.Tensor') -> 'tf.Tensor':
        """Return float [N, H, W, C] images, of values 0 to 255, normalized: float32.

        If before_crop, uint8 images too.
        """


class PerImage(Normalization):
    """Mean 0 and standard deviation 1 of each image; a flat one is divided by 1 / sqrt(n)."""

    def apply(self, images: 'tf.Tensor') -> 'tf.Tensor':
        import tensorflow.compat.v1 as tf
        _, height, width, channels = images.shape.as_list()
        axes = [1, 2, 3]
        centred = images - tf.reduce_mean(images, axes, keepdims=True)
        deviation = tf.sqrt(tf.reduce_mean(tf.square(centred), axes, keepdims=True))
        return centred * (1 / tf.maximum(deviation, (height * width * channels) ** -0.5))


class PerChannel(Normalization):
    """Mean 0 and standard deviation 1 of each channel over the training images."""

    @staticmethod
    def fit(chunks: Iterable[np.ndarray]) -> Sequence[float]:
        return np.concatenate(moments(chunks, (0, 1, 2)))

    @staticmethod
    def statistics_shape(image_shape: Sequence[int]) -> Tuple[int, ...]:
        return 2, image_shape[2]

    def apply(self, images: 'tf.Tensor') -> 'tf.Tensor':
        import tensorflow.compat.v1 as tf
        _, height, width, channels = images.shape.as_list()
        mean, deviation = self._array(images)
        # By rows: Eigen is slow where the last dimension is as short as the 3 channels.
        rows = tf.reshape(images, [-1, height, width * channels])
        rows = (rows - np.tile(mean, width)) * np.tile(1 / np.maximum(deviation, MIN_STD), width)
        return tf.reshape(rows, [-1, height, width, channels])


class PerPixel(Normalization):
    """The mean training image subtracted (Krizhevsky et al. 2012); one deviation for all values."""
    before_crop = True

    @staticmethod
    def fit(chunks: Iterable[np.ndarray]) -> Sequence[float]:
        mean, deviation = moments(chunks, 0)
        return np.append(mean.ravel(), np.sqrt(np.mean(np.square(deviation))))

    @staticmethod
    def statistics_shape(image_shape: Sequence[int]) -> Tuple[int, ...]:
        return (int(np.prod(image_shape)) + 1,)

    def apply(self, images: 'tf.Tensor') -> 'tf.Tensor':
        import tensorflow.compat.v1 as tf
        mean = self._array(images)[:-1].reshape(images.shape.as_list()[1:])
        factor = np.float32(1 / max(self.statistics[-1], MIN_STD))
        return (tf.cast(images, tf.float32) - mean) * factor


class YuvLocal(Normalization):
    """Y normalized by its neighbourhood, U and V by the training images.

    From Y the mean of its neighbourhood of 7x7, weighted by a Gaussian, is subtracted. The result
    is divided by the deviation there, or by the image's mean deviation if that is larger. As in
    http://torch.ch/blog/2015/07/30/cifar.html. The graph works the neighbourhoods out, since a
    frozen graph must accept images as decoded.
    """
    before_crop = True

    @staticmethod
    def fit(chunks: Iterable[np.ndarray]) -> Sequence[float]:
        return np.concatenate(moments((chunk.dot(YUV[:, 1:]) for chunk in chunks), (0, 1, 2)))

    @staticmethod
    def statistics_shape(image_shape: Sequence[int]) -> Tuple[int, ...]:
        return 2, 2

    def apply(self, images: 'tf.Tensor') -> 'tf.Tensor':
        import tensorflow.compat.v1 as tf
        _, height, width, _ = images.shape.as_list()
        colours = tf.matmul(tf.reshape(tf.cast(images, tf.float32), [-1, 3]),
                            YUV.astype(np.float32))
        colours = tf.reshape(colours, [-1, height, width, 3])
        offsets = np.arange(NEIGHBOURHOOD) - NEIGHBOURHOOD // 2
        weights = np.exp(-0.5 * np.square(offsets / (0.25 * NEIGHBOURHOOD)))
        kernel = (weights / weights.sum()).astype(np.float32)
        inside = np.outer(*(np.convolve(np.ones(n), kernel, 'same') for n in (height, width)))

        def local_mean(maps):
            """Return the weighted means of the neighbourhoods, of their pixels in the image."""
            for shape in ([NEIGHBOURHOOD, 1, 1, 1], [1, NEIGHBOURHOOD, 1, 1]):
                maps = tf.nn.conv2d(maps, kernel.reshape(shape), [1, 1, 1, 1], 'SAME')
            return maps * (1 / inside)[None, :, :, None].astype(np.float32)

        luma = colours[..., :1]
        luma = luma - local_mean(luma)
        deviation = tf.sqrt(local_mean(tf.square(luma)))
        least = tf.maximum(tf.reduce_mean(deviation, [1, 2, 3], keepdims=True), 1e-4)
        mean, deviations = self._array(images)
        return tf.concat([luma / tf.maximum(deviation, least),
                          (colours[..., 1:] - mean) / np.maximum(deviations, MIN_STD)], 3)


NORMALIZATIONS: Dict[str, Type[Normalization]] = {
    'per_image': PerImage, 'per_channel': PerChannel, 'per_pixel': PerPixel, 'yuv_local': YuvLocal}


def create(name: str, statistics: Sequence[float] = ()) -> Normalization:
    """Return the normalization `name` with the `statistics` of `fit`. Raises UsageError."""
    if name not in NORMALIZATIONS:
        raise unknown_name_error('normalization', name, NORMALIZATIONS)
    return NORMALIZATIONS[name](statistics)


def fit(name: str, dataset: loading.Dataset) -> Tuple[float, ...]:
    """Return the statistics of the training images that normalization `name` needs, cached."""
    kind = type(create(name))
    if kind is PerImage:
        return ()
    held_out = hashlib.sha256(repr(dataset.held_out).encode()).hexdigest()[:16]
    part = f'-without-{held_out}' if dataset.held_out else ''
    path = os.path.join(files.cache_dir(), 'statistics',
                        f'{name}-{dataset.identity[:32]}{part}.json')
    # A cache that cannot be used is not an error: without it the next run takes seconds longer.
    with contextlib.suppress(OSError, UserError):
        cached = schema.read(path, List[float], 'it is made again')
        if len(cached) == np.prod(kind.statistics_shape(dataset.image_shape)):
            return tuple(cached)
    statistics = tuple(round(float(number), 4) for number in kind.fit(_chunks(dataset)))
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        files.write_json(path, statistics)
    return statistics


def moments(chunks: Iterable[np.ndarray], axes: Any) -> Tuple[np.ndarray, np.ndarray]:
    """Return the means and standard deviations over all images, and over `axes` of each."""
    count, total, squares = 0, 0., 0.
    for chunk in chunks:
        sums = chunk.sum(axes)
        count += chunk.size // sums.size
        total = total + sums
        squares = squares + np.square(chunk).sum(axes)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - np.square(mean), 0))


def _chunks(dataset: loading.Dataset) -> Iterator[np.ndarray]:
    """Yield the training images, float64 [n, H, W, C]: together they need not fit in memory."""
    size = max(1, int(CHUNK_BYTES / dataset.record_format.record_bytes))
    for records, rows in tqdm.tqdm(
            loading.rows_of(dataset, 'train'), f'statistics of {dataset.name}',
            len(dataset.splits['train']), unit='file', leave=False, disable=None):
        for first in range(0, len(rows), size):
            images, _ = record_format.decode(records[rows[first:first + size]],
                                             dataset.record_format)
            yield images.astype(np.float64)

"""Fixed-size records of a label and an image: the binary formats of CIFAR and our TFRecords.

All records of a dataset have one size, so a few array operations decode a whole batch.
`permafrost.inputs.pipeline` decodes them in the graph.
"""

import os
from typing import NamedTuple, Tuple

import numpy as np


class RecordFormat(NamedTuple):
    """The layout of a record."""
    template: bytes  # a record whose label and image are blank
    label: slice  # the bytes of the label, a varint: 7 bits a byte, lowest bits first
    image: slice  # the bytes of the image
    image_shape: Tuple[int, int, int]  # height, width, channels
    channels_first: bool  # CHW, one plane a channel, as in CIFAR; else HWC

    @property
    def record_bytes(self) -> int:
        """The size of a record."""
        return len(self.template)


# https://www.cs.toronto.edu/~kriz/cifar.html. A CIFAR-100 record begins with the coarse label,
# which is not used; the fine label follows.
CIFAR10 = RecordFormat(bytes(3073), slice(0, 1), slice(1, 3073), (32, 32, 3), channels_first=True)
CIFAR100 = RecordFormat(bytes(3074), slice(1, 2), slice(2, 3074), (32, 32, 3), channels_first=True)


def map_records(path: str, record_format: RecordFormat) -> np.ndarray:
    """Map the records of a file into memory: uint8 [N, record_bytes], read-only."""
    if not os.path.getsize(path):  # an empty file cannot be mapped
        return np.empty((0, record_format.record_bytes), np.uint8)
    return np.memmap(path, np.uint8, 'r').reshape(-1, record_format.record_bytes)


def decode(records: np.ndarray,
           record_format: RecordFormat = CIFAR10) -> Tuple[np.ndarray, np.ndarray]:
    """Return (images uint8 [N, H, W, C], labels int64 [N]) of uint8 [N, record_bytes] records."""
    height, width, channels = record_format.image_shape
    images = records[:, record_format.image]
    if record_format.channels_first:
        images = images.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    images = np.ascontiguousarray(images).reshape((-1,) + record_format.image_shape)
    digits = records[:, record_format.label].astype(np.int64) & 127
    return images, (digits << 7 * np.arange(digits.shape[1])).sum(1)


def encode(images: np.ndarray, labels: np.ndarray,
           record_format: RecordFormat = CIFAR10) -> np.ndarray:
    """Return records, uint8 [N, record_bytes]: the inverse of `decode`.

    `images` may also be [N, H * W, C].
    """
    records = np.tile(np.frombuffer(record_format.template, np.uint8), (len(labels), 1))
    num_digits = records[:, record_format.label].shape[1]
    digits = np.asarray(labels)[:, None] >> 7 * np.arange(num_digits) & 127
    digits[:, :-1] |= 128  # a varint marks each byte that another one follows
    records[:, record_format.label] = digits
    height, width, channels = record_format.image_shape
    pixels = np.asarray(images).reshape(len(records), height * width, channels)
    if record_format.channels_first:
        pixels = pixels.transpose(0, 2, 1)
    records[:, record_format.image] = pixels.reshape(len(records), height * width * channels)
    return records

"""Fixed-size records of a label and an image: the binary formats of CIFAR and our TFRecords.

All records of a dataset have one size, so a few array operations decode a whole batch.
`permafrost.inputs.pipeline` decodes them in the graph.
"""

import os
from typing import NamedTuple, Tuple, Union

import numpy as np


class RecordFormat(NamedTuple):
    """The layout of a record. Offsets and sizes are in bytes."""
    record_bytes: int
    label_offset: int
    label_bytes: int  # 1: the label itself; 2: a varint, 7 bits a byte, lowest bits first
    image_offset: int
    image_shape: Tuple[int, int, int]  # height, width, channels
    channels_first: bool  # CHW, one plane a channel, as in CIFAR; else HWC

    @property
    def image_bytes(self) -> int:
        """The size of an image in bytes."""
        height, width, channels = self.image_shape
        return height * width * channels

    @property
    def label_slice(self) -> slice:
        """The bytes of the label within a record."""
        return slice(self.label_offset, self.label_offset + self.label_bytes)

    @property
    def image_slice(self) -> slice:
        """The bytes of the image within a record."""
        return slice(self.image_offset, self.image_offset + self.image_bytes)


# https://www.cs.toronto.edu/~kriz/cifar.html. A CIFAR-100 record begins with the coarse label,
# which is not used; the fine label follows.
CIFAR10 = RecordFormat(3073, label_offset=0, label_bytes=1, image_offset=1,
                       image_shape=(32, 32, 3), channels_first=True)
CIFAR100 = RecordFormat(3074, label_offset=1, label_bytes=1, image_offset=2,
                        image_shape=(32, 32, 3), channels_first=True)


def map_records(path: str, record_format: RecordFormat) -> np.ndarray:
    """Map the records of a file into memory: uint8 [N, record_bytes], read-only."""
    if not os.path.getsize(path):  # an empty file cannot be mapped
        return np.empty((0, record_format.record_bytes), np.uint8)
    return np.memmap(path, np.uint8, 'r').reshape(-1, record_format.record_bytes)


def decode_labels(records: np.ndarray, record_format: RecordFormat) -> np.ndarray:
    """Return the labels, int64 [N], of uint8 [N, record_bytes] records."""
    digits = records[:, record_format.label_slice].astype(np.int64)
    if record_format.label_bytes == 1:
        return digits[:, 0]
    return ((digits & 127) << 7 * np.arange(record_format.label_bytes)).sum(1)


def decode(records: np.ndarray,
           record_format: RecordFormat = CIFAR10) -> Tuple[np.ndarray, np.ndarray]:
    """Return (images uint8 [N, H, W, C], labels int64 [N]) of uint8 [N, record_bytes] records."""
    height, width, channels = record_format.image_shape
    images = records[:, record_format.image_slice]
    if record_format.channels_first:
        images = images.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    images = np.ascontiguousarray(images).reshape((-1,) + record_format.image_shape)
    return images, decode_labels(records, record_format)


def encode(images: np.ndarray, labels: np.ndarray, record_format: RecordFormat = CIFAR10,
           template: Union[int, np.ndarray] = 0) -> np.ndarray:
    """Return records, uint8 [N, record_bytes]: the inverse of `decode`.

    `images` may also be [N, H * W, C]. The bytes outside of label and image are those of
    `template`, uint8 [record_bytes].
    """
    records = np.empty((len(labels), record_format.record_bytes), np.uint8)
    records[...] = template
    digits = np.asarray(labels)[:, None] >> 7 * np.arange(record_format.label_bytes) & 127
    digits[:, :-1] |= 128  # a varint marks each byte that another one follows
    records[:, record_format.label_slice] = digits
    height, width, channels = record_format.image_shape
    pixels = np.asarray(images).reshape(len(records), height * width, channels)
    if record_format.channels_first:
        pixels = pixels.transpose(0, 2, 1)
    records[:, record_format.image_slice] = pixels.reshape(len(records), record_format.image_bytes)
    return records

"""Records of one size, each a label and an image: CIFAR's binary formats and our TFRecords.

A Layout says where in a record the parts lie. One size lets whole batches be taken apart at
once, by the same few operations whatever the format.
"""

import typing

import numpy as np


class RecordFormat(typing.NamedTuple):
    """Where the label and the image lie in a record; offsets and sizes are in bytes."""
    size: int  # of the whole record
    label: int  # where the label begins
    label_bytes: int  # 7 bits of the label each, the lowest first: a varint, or a single byte
    image: int  # where the image begins
    shape: typing.Tuple[int, int, int]  # height, width, channels
    planar: bool  # a plane for each channel, one after the other; else pixel by pixel

    @property
    def image_bytes(self):
        height, width, channels = self.shape
        return height * width * channels


# https://www.cs.toronto.edu/~kriz/cifar.html: a byte of label; CIFAR-100 has the coarse label
# before it, which is not read.
CIFAR10 = RecordFormat(3073, label=0, label_bytes=1, image=1, shape=(32, 32, 3), planar=True)
CIFAR100 = RecordFormat(3074, label=1, label_bytes=1, image=2, shape=(32, 32, 3), planar=True)


def labels_of(rows, layout):
    """uint8 [N, size] records -> int64 [N] labels."""
    parts = rows[:, layout.label:layout.label + layout.label_bytes].astype(np.int64)
    return ((parts & (127 if layout.label_bytes > 1 else 255))
            << 7 * np.arange(layout.label_bytes)).sum(1)


def decode(rows, layout=CIFAR10):
    """uint8 [N, size] records -> (uint8 [N, H, W, 3] images, int64 [N] labels)."""
    height, width, channels = layout.shape
    images = rows[:, layout.image:layout.image + layout.image_bytes]
    if layout.planar:
        images = images.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    images = np.ascontiguousarray(images).reshape((-1,) + layout.shape)
    return images, labels_of(rows, layout)


def encode(images, labels, layout=CIFAR10, template=0):
    """The inverse of decode; `images` may also be [N, H * W, 3].

    What is neither label nor image is taken from `template`, uint8 [size], or 0.
    """
    rows = np.empty((len(labels), layout.size), np.uint8)
    rows[...] = template
    for i in range(layout.label_bytes):
        more = 128 if i + 1 < layout.label_bytes else 0
        rows[:, layout.label + i] = np.asarray(labels) >> 7 * i & (127 if more else 255) | more
    height, width, channels = layout.shape
    pixels = np.asarray(images).reshape(len(rows), height * width, channels)
    if layout.planar:
        pixels = pixels.transpose(0, 2, 1)
    rows[:, layout.image:layout.image + layout.image_bytes] = pixels.reshape(
        len(rows), layout.image_bytes)
    return rows

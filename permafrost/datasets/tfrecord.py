"""TFRecord files of tf.Examples that are records of one size as well.

Any reader of TFRecords and tf.Examples reads them: features `image_raw` (height x width x
depth bytes, pixel by pixel), `label`, `height`, `width` and `depth`. Here they are read as what
they also are, records of one size (see `records.Layout`): no message is parsed. To that end
labels above 127 are possible only where every label takes two bytes; the first 128 then are
varints with an empty last byte, which is unusual but valid.

Formats: https://www.tensorflow.org/tutorials/load_data/tfrecord and
https://protobuf.dev/programming-guides/encoding/.
"""

import struct

import numpy as np

from permafrost.datasets import record_format

HEADER, FOOTER = 12, 4  # bytes of a TFRecord before its data (length, checksum) and after it
MAX_CLASSES = 128 ** 2  # that two bytes of label can tell apart

LANE = 256  # bytes
POLYNOMIAL = 0x82f63b78  # Castagnoli's, bits reversed


def format_of(side, classes):
    """The records.Layout of images of `side` x `side` pixels in `classes` classes."""
    return _plan(side, 1 if classes <= 128 else 2)[0]


def encode(images, labels, classes):
    """uint8 [N, side, side, 3] images and their labels -> uint8 [N, size] TFRecords."""
    plan, template = _plan(images.shape[1], 1 if classes <= 128 else 2)
    rows = record_format.encode(images, labels, plan, np.frombuffer(template, np.uint8))
    rows[:, -FOOTER:] = _masked(crc32c(rows[:, HEADER:-FOOTER]))[:, None].view(np.uint8)
    return rows


def _plan(side, label_bytes):
    """The Layout of such records, and the bytes of one of them with label and image empty."""
    image_bytes = side * side * 3
    label = _feature('label', 3, bytes(label_bytes))
    rest = b''.join(_feature(name, 3, _varint(value))
                    for name, value in (('height', side), ('width', side), ('depth', 3)))
    features = label + rest + _feature('image_raw', 1, bytes(image_bytes))
    example = _field(1, features)
    length = struct.pack('<Q', len(example))
    before = HEADER + len(example) - len(features)
    plan = record_format.RecordFormat(
        HEADER + len(example) + FOOTER, label=before + len(label) - label_bytes,
        label_bytes=label_bytes, image=HEADER + len(example) - image_bytes,
        shape=(side, side, 3), planar=False)
    checksum = _masked(crc32c(np.frombuffer(length, np.uint8)[None])).tobytes()
    return plan, length + checksum + example + bytes(FOOTER)


def _feature(name, kind, value):
    """An entry of tf.Features; `kind` is the field of tf.Feature: 1 bytes_list, 3 int64_list."""
    return _field(1, _field(1, name.encode()) + _field(2, _field(kind, _field(1, value))))


def _field(number, content):
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value):
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes(digits + [value])


def _step(crc):
    """What a zero byte makes of the registers `crc`, uint32."""
    return TABLE[crc & 255] ^ crc >> np.uint32(8)


def _table():
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = crc >> np.uint32(1) ^ (crc & np.uint32(1)) * np.uint32(POLYNOMIAL)
    return crc


def _advance(zeros):
    """[4, 256]: what `zeros` zero bytes make of each value of each byte of a register."""
    crc = np.arange(256, dtype=np.uint32) << 8 * np.arange(4, dtype=np.uint32)[:, None]
    for _ in range(zeros):
        crc = _step(crc)
    return crc


TABLE = _table()
ADVANCE = _advance(LANE)


def crc32c(rows):
    """The CRC-32C of each row: uint8 [N, L] -> uint32 [N]; L is 4 or more.

    The register is linear in the bytes: the lanes of all rows go through it side by side, and
    are joined by what as many zero bytes as a lane has would make of those before.
    """
    count, length = rows.shape
    lanes = -(-length // LANE)
    padded = np.zeros((count, lanes * LANE), np.uint8)  # zeros in front leave a register of 0
    padded[:, -length:] = rows
    start = lanes * LANE - length
    padded[:, start:start + 4] ^= 255  # as if the register were all ones there
    parts = np.ascontiguousarray(padded.reshape(count, lanes, LANE).transpose(2, 1, 0))
    crc = np.zeros((lanes, count), np.uint32)
    for part in parts:
        crc = _step(crc ^ part)
    whole = np.zeros(count, np.uint32)
    for lane in crc:
        whole = lane ^ ADVANCE[0][whole & 255] ^ ADVANCE[1][whole >> np.uint32(8) & 255] ^ (
            ADVANCE[2][whole >> np.uint32(16) & 255] ^ ADVANCE[3][whole >> np.uint32(24)])
    return ~whole


def _masked(crc):
    """As TFRecords store it: a checksum of data that holds checksums would be weak otherwise."""
    rotated = crc >> np.uint32(15) | crc << np.uint32(17)
    return (rotated.astype(np.uint64) + 0xa282ead8 & 0xffffffff).astype('<u4')

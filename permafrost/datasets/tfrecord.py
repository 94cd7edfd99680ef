"""TFRecord files of tf.Examples whose records all have the same size.

Other readers of TFRecords find the features `image_raw` (height x width x depth bytes, HWC),
`label`, `height`, `width` and `depth`. We read the files as fixed-size records instead, without
parsing messages. So that all records have one size, a dataset of more than 128 classes stores
every label as a varint of two bytes; for labels below 128 that is unusual but valid.

Formats: https://www.tensorflow.org/tutorials/load_data/tfrecord and
https://protobuf.dev/programming-guides/encoding/.
"""

import struct
from typing import Tuple

import numpy as np

from permafrost.datasets import record_format

HEADER_BYTES, FOOTER_BYTES = 12, 4  # the length and its checksum; the checksum of the data
MAX_CLASSES = 128 ** 2  # labels of two varint bytes
BYTES_LIST, INT64_LIST = 1, 3  # field numbers in tf.Feature
LANE_BYTES = 256  # see crc32c


def format_of(image_size: int, num_classes: int) -> record_format.RecordFormat:
    """Return the format of the records of square images in `num_classes` classes."""
    return _format_and_template(image_size, num_classes)[0]


def encode(images: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return TFRecords, uint8 [N, record_bytes], of uint8 [N, size, size, 3] images."""
    layout, template = _format_and_template(images.shape[1], num_classes)
    records = record_format.encode(images, labels, layout, np.frombuffer(template, np.uint8))
    checksums = _mask(crc32c(records[:, HEADER_BYTES:-FOOTER_BYTES]))
    records[:, -FOOTER_BYTES:] = checksums[:, None].view(np.uint8)
    return records


def _format_and_template(image_size: int,
                         num_classes: int) -> Tuple[record_format.RecordFormat, bytes]:
    """Return the format of the records, and a record with a blank label, image and checksum."""
    label_bytes = 1 if num_classes <= 128 else 2
    image_bytes = image_size ** 2 * 3
    label = _feature('label', INT64_LIST, bytes(label_bytes))
    features = label + b''.join(
        _feature(name, INT64_LIST, _varint(value))
        for name, value in (('height', image_size), ('width', image_size), ('depth', 3)))
    features += _feature('image_raw', BYTES_LIST, bytes(image_bytes))
    example = _field(1, features)
    end = HEADER_BYTES + len(example)  # the image is last
    layout = record_format.RecordFormat(
        end + FOOTER_BYTES, label_offset=end - len(features) + len(label) - label_bytes,
        label_bytes=label_bytes, image_offset=end - image_bytes,
        image_shape=(image_size, image_size, 3), channels_first=False)
    length = struct.pack('<Q', len(example))
    checksum = _mask(crc32c(np.frombuffer(length, np.uint8)[None])).tobytes()
    return layout, length + checksum + example + bytes(FOOTER_BYTES)


def _feature(name: str, kind: int, value: bytes) -> bytes:
    """Return an entry of tf.Features; `kind` is BYTES_LIST or INT64_LIST."""
    return _field(1, _field(1, name.encode()) + _field(2, _field(kind, _field(1, value))))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes(digits + [value])


def crc32c(rows: np.ndarray) -> np.ndarray:
    """Return the CRC-32C of each row: uint8 [N, L] -> uint32 [N], for L of at least 4.

    CRCs are linear: each row is split into lanes, all lanes advance together byte by byte, then
    a table shifts the CRC of each lane past the next one.
    """
    count, length = rows.shape
    num_lanes = -(-length // LANE_BYTES)
    start = num_lanes * LANE_BYTES - length
    padded = np.zeros((count, num_lanes * LANE_BYTES), np.uint8)  # leading zeros change nothing
    padded[:, start:] = rows
    padded[:, start:start + 4] ^= 255  # the same as starting with a register of ones
    lanes = np.zeros((num_lanes, count), np.uint32)
    columns = padded.reshape(count, num_lanes, LANE_BYTES).transpose(2, 1, 0)
    for column in np.ascontiguousarray(columns):
        lanes = _append_zero_byte(lanes ^ column)
    crc = np.zeros(count, np.uint32)
    for lane in lanes:
        crc = lane ^ np.bitwise_xor.reduce(
            [SHIFT_BY_LANE[i][crc >> np.uint32(8 * i) & 255] for i in range(4)])
    return ~crc


def _append_zero_byte(crc: np.ndarray) -> np.ndarray:
    return BYTE_TABLE[crc & 255] ^ crc >> np.uint32(8)


def _byte_table() -> np.ndarray:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = crc >> np.uint32(1) ^ (crc & np.uint32(1)) * np.uint32(0x82f63b78)  # Castagnoli's
    return crc


def _shift_table(num_bytes: int) -> np.ndarray:
    """Return [4, 256]: for byte i of a CRC with value v, the CRC after `num_bytes` zero bytes."""
    crc = np.arange(256, dtype=np.uint32) << 8 * np.arange(4, dtype=np.uint32)[:, None]
    for _ in range(num_bytes):
        crc = _append_zero_byte(crc)
    return crc


BYTE_TABLE = _byte_table()
SHIFT_BY_LANE = _shift_table(LANE_BYTES)


def _mask(crc: np.ndarray) -> np.ndarray:
    """Return a CRC as TFRecords store it: a CRC of data that contains CRCs would be weak."""
    rotated = crc >> np.uint32(15) | crc << np.uint32(17)
    return (rotated.astype(np.uint64) + 0xa282ead8 & 0xffffffff).astype('<u4')

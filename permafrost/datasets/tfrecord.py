"""TFRecord files of tf.Examples whose records all have the same size.

Other readers of TFRecords find the features `image_raw` (height x width x depth bytes, HWC),
`label`, `height`, `width` and `depth`. We read the files as fixed-size records instead, without
parsing messages. So that all records have one size, a dataset of more than 128 classes stores
every label as a varint of two bytes or more; for labels below 128 that is unusual but valid.

Formats: https://www.tensorflow.org/tutorials/load_data/tfrecord and
https://protobuf.dev/programming-guides/encoding/.
"""

import struct

import numpy as np

from permafrost.datasets import record_format

HEADER_BYTES, FOOTER_BYTES = 12, 4  # the length and its checksum; the checksum of the data
BYTES_LIST, INT64_LIST = 1, 3  # field numbers in tf.Feature


def format_of(image_size: int, num_classes: int) -> record_format.RecordFormat:
    """Return the format of the records of square images in `num_classes` classes."""
    label_bytes = len(_varint(num_classes - 1))
    image_bytes = image_size ** 2 * 3
    label = _feature('label', INT64_LIST, bytes(label_bytes))
    features = label + b''.join(
        _feature(name, INT64_LIST, _varint(value))
        for name, value in (('height', image_size), ('width', image_size), ('depth', 3)))
    features += _feature('image_raw', BYTES_LIST, bytes(image_bytes))
    example = _field(1, features)
    length = struct.pack('<Q', len(example))
    checksum = _mask(crc32c(np.frombuffer(length, np.uint8)[None])).tobytes()
    end = HEADER_BYTES + len(example)  # the image is last
    label_end = end - len(features) + len(label)
    return record_format.RecordFormat(
        length + checksum + example + bytes(FOOTER_BYTES),
        label=slice(label_end - label_bytes, label_end), image=slice(end - image_bytes, end),
        image_shape=(image_size, image_size, 3), channels_first=False)


def encode(images: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return TFRecords, uint8 [N, record_bytes], of uint8 [N, size, size, 3] images."""
    records = record_format.encode(images, labels, format_of(images.shape[1], num_classes))
    checksums = _mask(crc32c(records[:, HEADER_BYTES:-FOOTER_BYTES]))
    records[:, -FOOTER_BYTES:] = checksums[:, None].view(np.uint8)
    return records


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
    """Return the CRC-32C of each row: uint8 [N, L] -> uint32 [N].

    A row is split into equal parts, whose CRCs are computed side by side: the loop over bytes, with
    a few array operations each, is PARTS times shorter. A CRC is linear, so that of two parts is
    the first one's, moved on by as many zero bytes as the second has, xor the second one's.
    """
    count, length = rows.shape
    size = length // PARTS
    head = length - size * PARTS
    begin = _moved_on(np.full(count, 0xffffffff, np.uint32), rows[:, :head].T)
    columns = rows[:, head:].reshape(count, PARTS, size).transpose(2, 0, 1)
    parts = _moved_on(np.zeros((count, PARTS), np.uint32), np.ascontiguousarray(columns))
    matrix = _moved_on(BITS, np.zeros((size, 1), np.uint8))
    while parts.shape[1] > 1:
        parts = _product(matrix, parts[:, ::2]) ^ parts[:, 1::2]
        matrix = _product(matrix, matrix)  # twice as many zero bytes
    return ~(_product(matrix, begin) ^ parts[:, 0])


def _moved_on(states: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the states, uint32, of CRCs after the bytes in `columns`, which has one a state."""
    for column in columns:
        states = CRC_TABLE[(states ^ column) & 255] ^ states >> np.uint32(8)
    return states


def _product(matrix: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return a matrix over bits times each state; uint32 [32] has what bit 0, 1, ... becomes."""
    product = np.zeros_like(states)
    for bit, column in enumerate(matrix):
        product ^= (states >> np.uint32(bit) & np.uint32(1)) * column
    return product


PARTS = 256  # a power of two
BITS = np.uint32(1) << np.arange(32, dtype=np.uint32)


CRC_TABLE = np.arange(256, dtype=np.uint32)  # byte -> its CRC
for _ in range(8):
    CRC_TABLE = CRC_TABLE >> np.uint32(1) ^ (CRC_TABLE & np.uint32(1)) * np.uint32(0x82f63b78)


def _mask(crc: np.ndarray) -> np.ndarray:
    """Return a CRC as TFRecords store it: a CRC of data that contains CRCs would be weak."""
    rotated = crc >> np.uint32(15) | crc << np.uint32(17)
    return (rotated.astype(np.uint64) + 0xa282ead8 & 0xffffffff).astype('<u4')

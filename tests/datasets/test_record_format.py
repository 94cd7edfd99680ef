"""Record formats: every byte of a record is where the format says."""

import numpy as np
import pytest

from permafrost.datasets import record_format, tfrecord
from tests.datasets.helpers import arrays


def test_cifar10_record():
    record = bytes([7]) + np.random.RandomState(1).bytes(3072)
    images, labels = record_format.decode(np.frombuffer(record, np.uint8)[None])
    assert images.dtype == np.uint8 and labels.dtype == np.int64 and labels.tolist() == [7]
    for row, column, channel in [(0, 0, 0), (0, 31, 1), (31, 0, 2), (5, 17, 1)]:
        assert images[0, row, column, channel] == record[1 + channel * 1024 + row * 32 + column]
    assert record_format.encode(images, labels).tobytes() == record


def test_cifar100_record_has_the_fine_label_second():
    record = bytes([19, 99]) + np.random.RandomState(1).bytes(3072)
    images, labels = record_format.decode(np.frombuffer(record, np.uint8)[None],
                                          record_format.CIFAR100)
    assert labels.tolist() == [99]
    for row, column, channel in [(0, 0, 0), (0, 31, 1), (31, 0, 2), (5, 17, 1)]:
        assert images[0, row, column, channel] == record[2 + channel * 1024 + row * 32 + column]


@pytest.mark.parametrize('layout', [record_format.CIFAR10, record_format.CIFAR100,
                                    tfrecord.format_of(9, 5), tfrecord.format_of(9, 500)])
def test_decode_inverts_encode(layout):
    images, labels = arrays(layout.image_shape[0], 5)
    layout = layout._replace(template=b'M' * layout.record_bytes)
    records = record_format.encode(images, labels, layout)
    decoded_images, decoded_labels = record_format.decode(records, layout)
    np.testing.assert_array_equal(decoded_images, images)
    np.testing.assert_array_equal(decoded_labels, labels)
    is_other_byte = np.ones(layout.record_bytes, bool)
    is_other_byte[layout.image] = is_other_byte[layout.label] = False
    assert (records[:, is_other_byte] == ord('M')).all()


def test_an_empty_file_has_no_records(tmp_path):
    (tmp_path / 'empty.bin').write_bytes(b'')
    records = record_format.map_records(str(tmp_path / 'empty.bin'), record_format.CIFAR10)
    assert records.shape == (0, 3073)

"""TFRecords: the checksums are the published ones, and TensorFlow reads the records."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import tfrecord
from tests.datasets.helpers import arrays


@pytest.mark.parametrize('content, expected', [
    (b'123456789', 0xe3069283),  # the check value of every catalogue of CRCs
    (bytes(32), 0x8a9136aa),  # RFC 3720, B.4
    (b'\xff' * 32, 0x62a8ab43),
    (bytes(range(32)), 0x46dd794e),
    (bytes(range(31, -1, -1)), 0x113fdb5c)])
def test_published_checksums(content, expected):
    assert tfrecord.crc32c(np.frombuffer(content, np.uint8)[None]).tolist() == [expected]


def slow_crc32c(content):
    crc = 0xffffffff
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


@pytest.mark.parametrize('length', [1, 2, 255, 256, 257, 1000, 5000])
def test_checksums_of_any_length(length):
    rows = np.random.RandomState(length).randint(0, 256, (3, length)).astype(np.uint8)
    assert tfrecord.crc32c(rows).tolist() == [slow_crc32c(row.tobytes()) for row in rows]


def test_the_checksum_of_a_large_row_takes_few_steps(monkeypatch):
    sizes = []
    moved_on = tfrecord._moved_on
    monkeypatch.setattr(tfrecord, '_moved_on', lambda states, columns: (
        sizes.append(len(columns)), moved_on(states, columns))[1])
    row = np.random.RandomState(1).randint(0, 256, (1, 100000)).astype(np.uint8)
    assert tfrecord.crc32c(row).tolist() == [slow_crc32c(row.tobytes())]
    assert sum(sizes) < 1100


@pytest.mark.parametrize('size, num_classes', [(32, 2), (7, 128), (8, 129), (5, 16384), (4, 20000),
                                                (70, 10)])
def test_tensorflow_reads_the_records(tmp_path, size, num_classes):
    images, labels = arrays(size, num_classes)
    records = tfrecord.encode(images, labels, num_classes)
    assert records.shape == (20, tfrecord.format_of(size, num_classes).record_bytes)
    path = str(tmp_path / 'x.tfrecord')
    records.tofile(path)
    examples = list(tf.python_io.tf_record_iterator(path))  # verifies the checksums
    with tf.Graph().as_default(), tf.Session() as session:
        number = tf.FixedLenFeature([], tf.int64)
        batch = session.run(tf.io.parse_example(tf.constant(examples), {
            'label': number, 'height': number, 'width': number, 'depth': number,
            'image_raw': tf.FixedLenFeature([], tf.string)}))
    np.testing.assert_array_equal(batch['label'], labels)
    assert set(batch['height']) == set(batch['width']) == {size} and set(batch['depth']) == {3}
    assert batch['image_raw'].tolist() == [image.tobytes() for image in images]
    for example, label in zip(examples, labels):  # protobuf reads them too
        feature = tf.train.Example.FromString(example).features.feature
        assert feature['label'].int64_list.value[:] == [label]


def test_tensorflow_notices_a_damaged_record(tmp_path):
    records = tfrecord.encode(*arrays(8, 3), 3)
    records[2, 100] ^= 1
    records.tofile(str(tmp_path / 'x.tfrecord'))
    with pytest.raises(tf.errors.DataLossError):
        list(tf.python_io.tf_record_iterator(str(tmp_path / 'x.tfrecord')))

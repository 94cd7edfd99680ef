"""TFRecords: the checksums are the published ones, and TensorFlow reads what we write."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import loading, packing, record_format, tfrecord
from permafrost.errors import UsageError, UserError

tf.disable_v2_behavior()


@pytest.mark.parametrize('content, expected', [
    (b'123456789', 0xe3069283),  # the check value of every catalogue of CRCs
    (bytes(32), 0x8a9136aa),  # RFC 3720, B.4
    (b'\xff' * 32, 0x62a8ab43),
    (bytes(range(32)), 0x46dd794e),
    (bytes(range(31, -1, -1)), 0x113fdb5c)])
def test_published_checksums(content, expected):
    assert tfrecord.crc32c(np.frombuffer(content, np.uint8)[None]).tolist() == [expected]


def _slow_crc32c(content):
    crc = 0xffffffff
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


@pytest.mark.parametrize('length', [4, 255, 256, 257, 258, 259, 260, 1000])
def test_checksums_of_any_length(length):
    rows = np.random.RandomState(length).randint(0, 256, (3, length)).astype(np.uint8)
    assert tfrecord.crc32c(rows).tolist() == [_slow_crc32c(row.tobytes()) for row in rows]


def some(side, classes, count=20):
    random = np.random.RandomState(side)
    return (random.randint(0, 256, (count, side, side, 3)).astype(np.uint8),
            np.append(random.randint(0, classes, count - 2), [0, classes - 1]))


@pytest.mark.parametrize('side, classes', [(32, 2), (7, 128), (8, 129), (5, 16384), (70, 10)])
def test_tensorflow_reads_them(tmp_path, side, classes):
    images, labels = some(side, classes)
    rows = tfrecord.encode(images, labels, classes)
    assert rows.shape == (20, tfrecord.format_of(side, classes).size)
    path = str(tmp_path / 'x.tfrecord')
    rows.tofile(path)
    found = list(tf.python_io.tf_record_iterator(path))  # which checks the checksums
    with tf.Graph().as_default(), tf.Session() as session:
        number = tf.FixedLenFeature([], tf.int64)
        batch = session.run(tf.io.parse_example(tf.constant(found), {
            'label': number, 'height': number, 'width': number, 'depth': number,
            'image_raw': tf.FixedLenFeature([], tf.string)}))
    np.testing.assert_array_equal(batch['label'], labels)
    assert set(batch['height']) == set(batch['width']) == {side} and set(batch['depth']) == {3}
    assert batch['image_raw'].tolist() == [image.tobytes() for image in images]
    for content, label in zip(found, labels):  # and so does protobuf itself
        feature = tf.train.Example.FromString(content).features.feature
        assert feature['label'].int64_list.value[:] == [label]


def test_a_damaged_record_is_noticed_by_tensorflow(tmp_path):
    rows = tfrecord.encode(*some(8, 3), 3)
    rows[2, 100] ^= 1
    rows.tofile(str(tmp_path / 'x.tfrecord'))
    with pytest.raises(tf.errors.DataLossError):
        list(tf.python_io.tf_record_iterator(str(tmp_path / 'x.tfrecord')))


@pytest.mark.parametrize('layout', [
    record_format.CIFAR10, record_format.CIFAR100, tfrecord.format_of(9, 5), tfrecord.format_of(9, 500)])
def test_layouts_decode_what_they_encode(layout):
    images, labels = some(layout.shape[0], 5)
    rows = record_format.encode(images, labels, layout, template=77)
    found, truth = record_format.decode(rows, layout)
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(truth, labels)
    parts = np.ones(layout.size, bool)
    parts[layout.image:layout.image + layout.image_bytes] = False
    parts[layout.label:layout.label + layout.label_bytes] = False
    assert (rows[:, parts] == 77).all()


# As a data set


@pytest.fixture
def packed(tmp_path):
    """(directory, images, labels) of a data set of two splits and three classes."""
    images, labels = some(12, 3, 50)
    packing.write(str(tmp_path / 'set'), ['a', 'b', 'c'],
                  {'train': (images[:40], labels[:40]), 'test': (images[40:], labels[40:])})
    return str(tmp_path / 'set'), images, labels


def test_a_directory_is_a_data_set(packed):
    directory, images, labels = packed
    opened = loading.open_dataset(directory)
    assert (opened.name, opened.classes) == ('set', ('a', 'b', 'c'))
    assert opened.image_shape == (12, 12, 3) and opened.counts == {'train': 40, 'test': 10}
    for split, part in (('train', slice(0, 40)), ('test', slice(40, 50))):
        found, truth = loading.load(opened, split)
        np.testing.assert_array_equal(found, images[part])
        np.testing.assert_array_equal(truth, labels[part])
    assert opened == loading.open_dataset('tfrecords', directory)
    with pytest.raises(UsageError, match='leave --data_dir out'):
        loading.open_dataset(directory, directory)


def test_identity_follows_the_content_not_the_place(packed, tmp_path):
    directory, images, labels = packed
    opened = loading.open_dataset(directory)
    moved = str(tmp_path / 'moved')
    splits = {'train': (images[:40], labels[:40]), 'test': (images[40:], labels[40:])}
    packing.write(moved, ['a', 'b', 'c'], splits)
    assert loading.open_dataset(moved).identity == opened.identity
    packing.write(moved, ['a', 'b', 'd'], splits)
    renamed = loading.open_dataset(moved).identity
    packing.write(moved, ['a', 'b', 'c'], dict(splits, test=(images[41:], labels[41:])))
    assert len({opened.identity, renamed, loading.open_dataset(moved).identity}) == 3


@pytest.mark.parametrize('text, said', [
    (None, 'it has no manifest.json; name a directory that tools/make_tfrecords.py made'),
    ('[1, 2]', 'not the manifest of a data set'), ('{}', 'not the manifest of a data set'),
    ('{"format": "other"}', "of format 'other'"), ('{"for', 'manifest.json:'),
    ('{"format": "permafrost tfrecords 1", "classes": 3, "image_size": 8}', 'not the manifest')])
def test_a_bad_manifest_is_named(tmp_path, text, said):
    if text is not None:
        (tmp_path / 'manifest.json').write_text(text)
    with pytest.raises(UserError) as caught:
        loading.open_dataset(str(tmp_path))
    assert said in str(caught.value) and str(tmp_path) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_wrong_directory_is_named(tmp_path):
    with pytest.raises(UserError, match='none: no such directory'):
        loading.open_dataset(str(tmp_path / 'none'))
    with pytest.raises(UsageError, match='cifar10, cifar100.*or name a directory'):
        loading.open_dataset('cifar11')


def test_damage_and_missing_splits_are_said(packed):
    directory, images, labels = packed
    path = directory + '/train-00000-of-00001.tfrecord'
    with open(path, 'r+b') as stream:
        stream.seek(500)
        stream.write(b'????')
    with pytest.raises(UserError, match='corrupt.*run tools/make_tfrecords.py again'):
        loading.open_dataset(directory)
    packing.write(directory, ['a', 'b', 'c'], {'train': (images, labels)})
    with pytest.raises(UserError, match='has no test image'):
        loading.load(loading.open_dataset(directory), 'test')


def test_what_does_not_fit_in_memory_is_refused_before_it_is_read(packed):
    opened = loading.open_dataset(packed[0])
    with pytest.raises(UserError, match='do not fit in .* GB of memory: .*source=stream'):
        loading.load(opened._replace(counts={'train': 10 ** 12}), 'train')

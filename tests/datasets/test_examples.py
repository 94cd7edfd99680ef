"""TFRecords that other programs wrote: plain TensorFlow writes them, and they are packed."""

import io
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image

from permafrost.datasets import examples, loading, packing
from permafrost.errors import UserError
from tests import in_process

CLASSES = ['daisy', 'rose', 'tulip']


def encoded(label, number, kind='PNG'):
    """Return an image file of its own size and colour."""
    stream = io.BytesIO()
    Image.new('RGB', (20 + number, 16 + 3 * label), (80 * label, 7 * number, 99)).save(stream, kind)
    return stream.getvalue()


def feature(value):
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def slim(image, label, text=None):
    """Return the features of TF-Slim."""
    features = {'image/encoded': image, 'image/format': b'png', 'image/class/label': label,
                'image/height': 16, 'image/width': 20}
    return dict(features, **{'image/class/text': text.encode()} if text else {})


def write(path, *records):
    with tf.python_io.TFRecordWriter(str(path)) as writer:
        for record in records:
            if isinstance(record, dict):
                record = tf.train.Example(features=tf.train.Features(feature={
                    name: feature(value) for name, value in record.items()})).SerializeToString()
            writer.write(record)


def write_flowers(directory, names, texts=CLASSES, first=0, count=12):
    """Write files of `count` records of three classes, whose labels begin at `first`."""
    directory.mkdir()
    for name in names:
        write(directory / name, *(
            slim(encoded(i % 3, i, ('PNG', 'JPEG', 'BMP')[i % 3]), i % 3 + first,
                 texts and texts[i % 3]) for i in range(count)))


def scan(directory, test_fraction=0.25):
    return examples.scan(str(directory), examples.find(str(directory)), test_fraction)


def test_records_are_packed_as_their_image_files_would_be(tmp_path):
    write_flowers(tmp_path / 'in', ['flowers_train_00000-of-00002.tfrecord',
                                    'flowers_train_00001-of-00002.tfrecord',
                                    'flowers_validation_00000-of-00001.tfrecord'])
    for name in CLASSES:
        for split in ('train', 'test'):
            (tmp_path / 'files' / split / name).mkdir(parents=True)
    for i in range(12):
        kind = ('PNG', 'JPEG', 'BMP')[i % 3]
        for split in ('train', 'test'):
            path = tmp_path / 'files' / split / CLASSES[i % 3] / f'{i}.{kind.lower()}'
            path.write_bytes(encoded(i % 3, i, kind))
    result = in_process.run('tools/make_tfrecords.py', tmp_path / 'in', tmp_path / 'out',
                            '--image_size=16')
    assert result.code == 0, result.stderr
    assert '36 images of 3 classes, 16x16, 24 to train and 12 to test' in result.stdout
    assert packing.pack(str(tmp_path / 'files'), str(tmp_path / 'same'), 16, 0, 1) == 0
    packed, same = (loading.open_dataset(str(tmp_path / name)) for name in ('out', 'same'))
    assert packed.classes == same.classes == tuple(CLASSES)
    for split in ('train', 'test'):
        seen, expected = ({(image.tobytes(), label) for image, label in zip(
            *loading.load(dataset, split))} for dataset in (packed, same))
        assert seen == expected and len(seen) == 12


def test_what_is_packed_is_read_by_plain_tensorflow(tmp_path):
    write_flowers(tmp_path / 'in', ['x.tfrecord'])
    packing.pack(str(tmp_path / 'in'), str(tmp_path / 'out'), 8, 0.25, 1)
    paths = [str(path) for path in sorted((tmp_path / 'out').glob('*.tfrecord'))]
    assert len(paths) == 2
    records = [record for path in paths for record in tf.python_io.tf_record_iterator(path)]
    with tf.Graph().as_default(), tf.Session() as session:
        batch = session.run(tf.io.parse_example(tf.constant(records), {
            'image_raw': tf.FixedLenFeature([], tf.string),
            'label': tf.FixedLenFeature([], tf.int64)}))
    assert sorted(batch['label']) == [0] * 4 + [1] * 4 + [2] * 4
    assert {len(image) for image in batch['image_raw']} == {8 * 8 * 3}


@pytest.mark.parametrize('names, counts, ignored', [
    (['x.tfrecord'], None, {}),
    (['mnist-train.tfrecord-00000-of-00001', 'mnist-test.tfrecord-00000-of-00001'], (12, 12), {}),
    (['train-00000-of-00001', 'validation-00000-of-00001', 'test-00000-of-00001'], (12, 12),
     {'TFRecord files that are neither training nor test data': 1}),
    (['trainset.tfrecord', 'testset.tfrecord'], (12, 12), {}),
    (['traindata.tfrecord', 'testdata.tfrecord'], (12, 12), {}),
    (['trainval-0-of-1', 'valset-0-of-1'], (12, 12), {}),
    (['train-00000-of-00002', 'train-00001-of-00002'], None, {})])
def test_splits_are_found_by_the_names_of_files(tmp_path, names, counts, ignored):
    write_flowers(tmp_path / 'in', names)
    folder = scan(tmp_path / 'in')
    found = len(folder.items['train']), len(folder.items['test'])
    assert found == counts if counts else sum(found) == 12 * len(names) and all(found)
    assert folder.ignored == ignored
    assert folder.split_by == ('the names of the files' if counts else 'hash')
    assert scan(tmp_path / 'in', 0).items['test'] == [] or counts


def test_names_of_classes(tmp_path):
    write_flowers(tmp_path / 'text', ['x.tfrecord'], first=7)
    assert scan(tmp_path / 'text').classes == CLASSES
    write_flowers(tmp_path / 'numbers', ['x.tfrecord'], texts=None, first=7)
    assert scan(tmp_path / 'numbers').classes == ['7', '8', '9']
    (tmp_path / 'numbers/labels.txt').write_text('7:lion\n9:cat\x1b[31m\n8:dog\n')
    assert scan(tmp_path / 'numbers').classes == ['lion', 'dog', 'cat\\x1b[31m']
    write_flowers(tmp_path / 'tfds', ['x-train.tfrecord-00000-of-00001'], texts=None)
    (tmp_path / 'tfds/label.labels.txt').write_text('c\nb\na\n')
    assert scan(tmp_path / 'tfds').classes == ['c', 'b', 'a']
    write_flowers(tmp_path / 'twins', ['x.tfrecord'], texts=['crane', 'crane', 'owl'])
    assert scan(tmp_path / 'twins').classes == ['crane 0', 'crane 1', 'owl']
    (tmp_path / 'only').mkdir()
    write(tmp_path / 'only/x.tfrecord', *(
        {'image': encoded(0, i), 'image/class/text': text} for i, text in enumerate([b'b', b'a'])))
    folder = scan(tmp_path / 'only', 0)
    assert folder.classes == ['a', 'b']
    assert {item.record: item.label for item in folder.items['train']} == {0: 1, 1: 0}


def test_fine_labels_of_tfds_have_their_own_names(tmp_path):
    write_flowers(tmp_path / 'in', ['cifar100-train.tfrecord-00000-of-00001'], texts=None)
    (tmp_path / 'in/coarse_label.labels.txt').write_text('plants\nanimals\nthings\n')
    (tmp_path / 'in/label.labels.txt').write_text('daisy\nrose\ntulip\n')
    assert scan(tmp_path / 'in').classes == CLASSES
    (tmp_path / 'in/labels.txt').write_text('0:own\r\n1:two\n2:three')
    assert scan(tmp_path / 'in').classes == ['own', 'two', 'three']
    for name in ('labels.txt', 'label.labels.txt'):
        (tmp_path / 'in' / name).unlink()
    assert scan(tmp_path / 'in').classes == ['plants', 'animals', 'things']
    (tmp_path / 'in/attribute.labels.txt').write_text('a\nb\nc\n')
    with pytest.raises(UserError, match='in has several files of class names, attribute.labels.txt,'
                                        ' coarse_label.labels.txt: name the right one labels.txt$'):
        scan(tmp_path / 'in')


def test_names_are_needed_for_all_labels(tmp_path):
    write_flowers(tmp_path / 'in', ['x.tfrecord'], texts=None)
    path = tmp_path / 'in/labels.txt'
    path.write_text('daisy\nrose\n')
    with pytest.raises(UserError, match='labels.txt has 2 names, and none for label 2 of'):
        scan(tmp_path / 'in')
    path.write_bytes(b'x' * (examples.MAX_LABEL_BYTES + 1))
    with pytest.raises(UserError, match='labels.txt is larger than 1 MiB'):
        scan(tmp_path / 'in')
    for make in (os.mkfifo, lambda path: os.symlink('/dev/zero', path)):
        path.unlink()
        make(str(path))
        with pytest.raises(UserError, match='labels.txt: not a regular file: it must be'):
            scan(tmp_path / 'in')


def test_a_text_that_only_later_records_have_is_used(tmp_path):
    (tmp_path / 'in').mkdir()
    write(tmp_path / 'in/x.tfrecord', slim(encoded(0, 1), 0), slim(encoded(1, 1), 1, 'rose'),
          slim(encoded(0, 2), 0, 'daisy'), slim(encoded(0, 3), 0))
    (tmp_path / 'in/labels.txt').symlink_to('/dev/zero')  # not read: all classes have a text
    assert scan(tmp_path / 'in').classes == ['daisy', 'rose']
    write(tmp_path / 'in/y.tfrecord', slim(encoded(2, 1), 2))
    (tmp_path / 'in/labels.txt').unlink()
    (tmp_path / 'in/labels.txt').write_text('2:tulip')
    assert scan(tmp_path / 'in').classes == CLASSES


def test_a_bad_image_is_reported_by_its_record(tmp_path):
    (tmp_path / 'in').mkdir()
    write(tmp_path / 'in/x.tfrecord', slim(encoded(0, 1), 0), slim(b'GIF89a', 1), slim(b'', 1),
          slim(encoded(1, 1)[:-20], 1), slim(encoded(1, 2), 1))
    assert packing.pack(str(tmp_path / 'in'), str(tmp_path / 'out'), 8, 0, 1) == 1
    manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
    assert manifest['bad'] == {'x.tfrecord:1': 'not a PNG, JPEG or BMP image',
                               'x.tfrecord:2': 'the file is empty',
                               'x.tfrecord:3': 'the file is truncated'}


@pytest.mark.parametrize('record, problem', [
    (b'words', 'record 1 is not a tf.Example'),
    ({}, 'record 1 has nothing'),
    ({'audio\x1b': b'', 'image/class/label': 1}, r'has audio\\x1b, image/class/label: it needs'),
    ({'image/encoded': b'x'}, 'has image/encoded: it needs image/encoded'),
    ({'image_raw': bytes(48), 'label': 1}, 'holds raw pixels.*--dataset')])
def test_records_of_other_kinds_are_refused_in_one_line(tmp_path, record, problem):
    (tmp_path / 'in').mkdir()
    write(tmp_path / 'in/x.tfrecord', slim(encoded(0, 1), 0), record)
    with pytest.raises(UserError, match=problem) as caught:
        scan(tmp_path / 'in')
    assert 'x.tfrecord: record 1' in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('is_numbered, word', [(True, 'no'), (False, 'a')])
def test_numbered_and_named_records_are_not_mixed(tmp_path, is_numbered, word):
    records = [slim(encoded(0, 1), 5, 'daisy'),
               {'image/encoded': encoded(1, 2), 'image/class/text': b'rose'}]
    (tmp_path / 'in').mkdir()
    write(tmp_path / 'in/x.tfrecord', *records[::1 if is_numbered else -1])
    with pytest.raises(UserError, match=f'^x.tfrecord: record 1 has {word} image/class/label, '
                                        'unlike those before: write all records the same way$'):
        scan(tmp_path / 'in')


def test_damaged_and_foreign_files_are_refused_in_one_line(tmp_path):
    write_flowers(tmp_path / 'in', ['x.tfrecord'])
    path = tmp_path / 'in/x.tfrecord'
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (bytes(flipped), whole[:-9], b'\x1f\x8b\x08' + bytes(50), b'words'):
        path.write_bytes(content)
        with pytest.raises(UserError, match='is damaged, or this is not an uncompressed TFRecord'):
            scan(tmp_path / 'in')
    write_flowers(tmp_path / 'val', ['val-00000-of-00001'])
    with pytest.raises(UserError, match='has TFRecords of val, but none of train'):
        scan(tmp_path / 'val')
    (tmp_path / 'one').mkdir()
    write(tmp_path / 'one/x.tfrecord', slim(encoded(0, 1), 5))
    with pytest.raises(UserError, match='have only one class: a classifier needs at least two'):
        scan(tmp_path / 'one')


def test_names_that_may_name_splits_are_refused(tmp_path):
    write_flowers(tmp_path / 'in', ['mytrain.tfrecord', 'mytest.tfrecord'])
    with pytest.raises(UserError, match='^mytrain.tfrecord and mytest.tfrecord may or may not name '
                                        'splits: rename them'):
        scan(tmp_path / 'in')
    write_flowers(tmp_path / 'one', ['Latest-00000-of-00001', 'contest.tfrecord'])
    assert scan(tmp_path / 'one').split_by == 'hash'


def test_a_directory_with_folders_is_one_of_class_folders(tmp_path):
    (tmp_path / 'red').mkdir()
    (tmp_path / 'x.tfrecord').write_bytes(b'x')
    with pytest.raises(UserError, match='has TFRecord files, and folders without images, such as '
                                        'red: move the folders elsewhere$'):
        examples.find(str(tmp_path))
    (tmp_path / 'red/a.webp').write_bytes(b'x')
    assert examples.find(str(tmp_path)) == [] == examples.find(str(tmp_path / 'none'))
    (tmp_path / 'red/a.webp').unlink()
    (tmp_path / 'red').rmdir()
    for name in ('@eaDir', '__MACOSX'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'a.jpg').write_bytes(b'x')
    (tmp_path / 'notes.txt').write_text('x')
    np.zeros(3).tofile(str(tmp_path / 'train-00000-of-00001'))
    for name in ('photo-0-of-3.jpg', 'tfrecord.png', 'x.tfrecord.json'):
        (tmp_path / name).write_bytes(b'x')
    assert examples.find(str(tmp_path)) == ['train-00000-of-00001', 'x.tfrecord']


def test_raw_pixels_are_answered_with_the_users_own_command(tmp_path, monkeypatch):
    monkeypatch.setenv('PERMAFROST_COMMAND', 'docker run permafrost')
    (tmp_path / 'in').mkdir()
    write(tmp_path / 'in/x.tfrecord', {'image_raw': bytes(48), 'label': 1})
    with pytest.raises(UserError, match='as `docker run permafrost pack` writes them'):
        scan(tmp_path / 'in')
    result = in_process.run('tools/make_tfrecords.py', 'in')
    assert result.code == 2 and 'docker run permafrost pack DIR OUT' in result.stderr

"""Opening datasets: files are verified, damage is named, images and labels are read."""

import hashlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from permafrost import files
from permafrost.config import Config
from permafrost.datasets import loading, packing, record_format, registry
from permafrost.datasets.synthetic import make_synthetic
from permafrost.errors import UsageError, UserError
from permafrost.export import freeze
from permafrost.recipes.recipe import Recipe
from tests import in_process, networks
from tests.datasets.helpers import arrays, flip_bit, write_cifar100

# Reading


def test_the_published_cifar10(cifar10):
    assert cifar10.counts == {'train': 50000, 'test': 10000}
    images, labels = loading.load(cifar10, 'train')
    assert images.shape == (50000, 32, 32, 3)
    assert np.bincount(labels).tolist() == [5000] * 10
    # the channel means that every recipe for CIFAR-10 quotes
    np.testing.assert_allclose(images.mean((0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=1e-4)
    images, labels = loading.load(cifar10, 'test')
    assert images.shape == (10000, 32, 32, 3)
    assert np.bincount(labels).tolist() == [1000] * 10
    # the first labels of the test batch: a cat, two ships, an airplane
    assert [cifar10.classes[label] for label in labels[:4]] == ['cat', 'ship', 'ship', 'airplane']


@pytest.mark.parametrize('n', [1, 3, 7, 40])
def test_every_nth_image_across_files(tmp_path, n):
    paths, images = [], np.random.RandomState(1).randint(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    for first, last in ((0, 8), (8, 9), (9, 9), (9, 20)):  # one file is empty
        paths.append(str(tmp_path / f'{first}-{last}.bin'))
        record_format.encode(images[first:last], np.arange(last - first)).tofile(paths[-1])
    dataset = loading.Dataset('x', '', registry.CIFAR10_CLASSES, registry.IMAGE_SHAPE,
                              {'train': paths}, {'train': 20})
    np.testing.assert_array_equal(loading.every_nth(dataset, 'train', n), images[::n])
    for count, expected in ((30, images), (20, images), (6, images[[0, 3, 6, 10, 13, 16]]),
                            (19, images[[i * 20 // 19 for i in range(19)]]), (1, images[:1])):
        np.testing.assert_array_equal(loading.evenly_spaced(dataset, 'train', count), expected)


def test_the_first_images_are_read_without_the_others(packed, monkeypatch):
    directory, images, labels = packed
    dataset = loading.open_dataset(directory)
    monkeypatch.setattr(loading, 'load', None)
    for count, expected in ((3, 3), (10, 10), (99, 10)):
        first = loading.load_first(dataset, 'test', count)
        np.testing.assert_array_equal(first[0], images[40:40 + expected])
        np.testing.assert_array_equal(first[1], labels[40:40 + expected])
    with pytest.raises(UserError, match='has no validation images'):
        loading.load_first(dataset, 'validation', 1)
    result = in_process.run('tools/sample_images.py', f'--dataset={directory}', '--count=2',
                            f'--output={directory}/samples')
    names = [f'{i}-{"abc"[labels[40 + i]]}.png' for i in range(2)]
    assert result.stdout.splitlines() == [f'{directory}/samples/{name}' for name in names]
    for name, image in zip(names, images[40:]):
        with Image.open(f'{directory}/samples/{name}') as stream:
            np.testing.assert_array_equal(np.asarray(stream), image)


# Images that are held out


def test_held_out_images_are_the_published_choice(cifar10):
    """The same on every machine, engine and version of NumPy; 500 of each class."""
    data = loading.hold_out(cifar10, 5000, 1)
    assert data.counts == {'train': 45000, 'test': 10000, 'validation': 5000}
    assert data.held_out[:5] == (12, 26, 28, 37, 74)
    digest = hashlib.sha256(repr(data.held_out).encode()).hexdigest()
    assert digest.startswith('0e58754d731b')
    assert np.bincount(loading.load(data, 'validation')[1]).tolist() == [500] * 10
    assert np.bincount(loading.load(data, 'train')[1]).tolist() == [4500] * 10
    other = loading.hold_out(cifar10, 5000, 2)
    assert len(set(other.held_out) & set(data.held_out)) < 700
    assert loading.hold_out(cifar10, 0, 1) is cifar10


@pytest.mark.parametrize('count, shares', [
    (10, [6, 3, 1, 0]), (1, [1, 0, 0, 0]), (99, [59, 30, 10, 0]), (50, [30, 15, 5, 0])])
def test_each_class_gives_its_share(tmp_path, count, shares):
    labels = np.random.RandomState(3).permutation(np.repeat(np.arange(4), [59, 30, 10, 1]))
    images = np.arange(100, dtype=np.uint8)[:, None, None, None] * np.ones([1, 4, 4, 3], np.uint8)
    packing.write(str(tmp_path / 'set'), list('abcd'), {'train': (images, labels)})
    whole = loading.open_dataset(str(tmp_path / 'set'))
    data = loading.hold_out(whole, count, 10**30)
    kept, held = (loading.load(data, split) for split in ('train', 'validation'))
    numbers = kept[0][:, 0, 0, 0].tolist(), held[0][:, 0, 0, 0].tolist()
    stored, stored_labels = loading.load(whole, 'train')
    order = {int(image[0, 0, 0]): row for row, image in enumerate(stored)}
    assert sorted(numbers[0] + numbers[1]) == list(range(100))
    for (_, split_labels), split_numbers in zip((kept, held), numbers):
        assert [stored_labels[order[number]] for number in split_numbers] == split_labels.tolist()
    assert np.bincount(held[1], minlength=4).tolist() == shares
    np.testing.assert_array_equal(loading.every_nth(data, 'train', 3), kept[0][::3])
    assert data.identity == whole.identity


def test_the_last_image_of_a_class_is_for_training_if_possible(tmp_path):
    labels = np.repeat(np.arange(3), [2, 10, 2])
    packing.write(str(tmp_path / 'set'), list('abc'),
                  {'train': (np.zeros([14, 4, 4, 3], np.uint8), labels)})
    whole = loading.open_dataset(str(tmp_path / 'set'))
    for count, shares in ((11, [1, 9, 1]), (12, [2, 9, 1]), (13, [2, 10, 1])):
        held_out = loading.hold_out(whole, count, 1).held_out
        assert np.bincount(labels[list(held_out)]).tolist() == shares


def test_a_class_without_images_gives_none(tmp_path):
    labels = np.array([1, 2])
    packing.write(str(tmp_path / 'set'), list('abc'),
                  {'train': (np.zeros([2, 4, 4, 3], np.uint8), labels)})
    data = loading.hold_out(loading.open_dataset(str(tmp_path / 'set')), 1, 1)
    assert [len(loading.load(data, split)[1]) for split in ('train', 'validation')] == [1, 1]
    assert len(data.held_out) == 1


def test_an_image_must_be_left_to_train_on(packed):
    with pytest.raises(UsageError, match='--validation=40 leaves none of the 40 training images'):
        loading.hold_out(loading.open_dataset(packed[0]), 40, 1)
    with pytest.raises(UserError, match='has no validation images: training with --validation N'):
        loading.load(loading.open_dataset(packed[0]), 'validation')


@pytest.fixture
def packed(tmp_path):
    """(directory, images, labels) of a packed dataset of two splits and three classes."""
    images, labels = arrays(12, 3, 50)
    packing.write(str(tmp_path / 'set'), ['a', 'b', 'c'],
                  {'train': (images[:40], labels[:40]), 'test': (images[40:], labels[40:])})
    return str(tmp_path / 'set'), images, labels


def test_a_packed_directory_is_a_dataset(packed):
    directory, images, labels = packed
    dataset = loading.open_dataset(directory)
    assert (dataset.name, dataset.classes) == ('set', ('a', 'b', 'c'))
    assert dataset.image_shape == (12, 12, 3) and dataset.counts == {'train': 40, 'test': 10}
    for split, rows in (('train', slice(0, 40)), ('test', slice(40, 50))):
        loaded_images, loaded_labels = loading.load(dataset, split)
        np.testing.assert_array_equal(loaded_images, images[rows])
        np.testing.assert_array_equal(loaded_labels, labels[rows])
    assert dataset == loading.open_dataset('tfrecords', directory)
    with pytest.raises(UsageError, match='leave --data_dir out'):
        loading.open_dataset(directory, directory)


def test_an_empty_split_is_refused(packed):
    directory, images, labels = packed
    packing.write(directory, ['a', 'b', 'c'], {'train': (images, labels)})
    with pytest.raises(UserError, match='has no test images'):
        loading.load(loading.open_dataset(directory), 'test')


def test_a_split_larger_than_memory_is_refused_before_it_is_read(packed):
    dataset = loading.open_dataset(packed[0])
    with pytest.raises(UserError, match='more than 70 % of .* GB of free memory: .*source=stream'):
        loading.load(dataset._replace(counts={'train': 10 ** 12}), 'train')


def test_a_run_refuses_another_dataset(packed):
    config = Config('tuto', Recipe('test', 24), 1, dataset='tfrecords', data_dir=packed[0])
    assert loading.open_for_run(config) == loading.open_for_run(config, packed[0])
    with pytest.raises(UsageError, match='this run was trained on set, not on cifar10: leave'):
        loading.open_for_run(config, 'cifar10')


# Damage


def append_byte(path):
    with open(path, 'ab') as stream:
        stream.write(b'x')


@pytest.mark.parametrize('damage, problem', [
    (os.unlink, 'missing'),
    (lambda path: os.truncate(path, 4000), 'too short, 4000 bytes instead of'),
    (append_byte, 'too long'),
    (flip_bit, 'corrupt, its checksum is'),
])
def test_a_damaged_file_is_named(tmp_path, damage, problem):
    make_synthetic(str(tmp_path), train=20, test=10)
    path = str(tmp_path / 'train_2.bin')
    damage(path)
    with pytest.raises(UserError) as caught:
        loading.open_dataset('synthetic', str(tmp_path))
    message = str(caught.value)
    assert message.startswith(path + ': ' + problem)
    assert 'make it again' in message and '\n' not in message


def test_a_damaged_shard_is_named(packed):
    flip_bit(packed[0] + '/train-00000-of-00001.tfrecord', 500)
    with pytest.raises(UserError, match='corrupt.*pack it again with `.* DIR OUT`'):
        loading.open_dataset(packed[0])


@pytest.mark.parametrize('name, problem', [
    ('cifar10', 'data_batch_1.bin: missing; run `{}`'),
    ('cifar100', 'train.bin: missing; run `{} --dataset=cifar100`')])
def test_missing_files_say_what_to_run(tmp_path, monkeypatch, name, problem):
    with pytest.raises(UserError, match=problem.format('[^ ]*python[^ ]* [^ ]*tools/get_data.py')):
        loading.open_dataset(name, str(tmp_path))
    monkeypatch.setenv('PERMAFROST_COMMAND', 'docker run permafrost')
    with pytest.raises(UserError, match=problem.format('docker run permafrost data')):
        loading.open_dataset(name, str(tmp_path))


# CIFAR-100, on synthetic records


@pytest.fixture
def small_cifar100(tmp_path, monkeypatch):
    """(directory, labels) of a small dataset in place of CIFAR-100."""
    files, labels = write_cifar100(tmp_path / 'set', 300, 200)
    monkeypatch.setattr(registry, 'CIFAR100_FILES', files)
    return tmp_path / 'set', labels


def test_cifar100_has_the_fine_labels(small_cifar100):
    dataset = loading.open_dataset('cifar100', str(small_cifar100[0]))
    assert dataset.counts == {'train': 300, 'test': 200}
    assert dataset.record_format == record_format.CIFAR100
    images, labels = loading.load(dataset, 'test')
    np.testing.assert_array_equal(labels, small_cifar100[1]['test'])
    content = (small_cifar100[0] / 'test.bin').read_bytes()
    for row, column, channel in [(0, 0, 0), (0, 31, 1), (31, 0, 2), (5, 17, 1)]:
        assert images[3, row, column, channel] == content[
            3 * 3074 + 2 + channel * 1024 + row * 32 + column]


def test_damage_in_cifar100_is_named(small_cifar100):
    path = small_cifar100[0] / 'train.bin'
    flip_bit(path, 700)
    with pytest.raises(UserError, match='train.bin: corrupt, its checksum .*dataset=cifar100'):
        loading.open_dataset('cifar100', str(small_cifar100[0]))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match='train.bin: too short'):
        loading.open_dataset('cifar100', str(small_cifar100[0]))


def test_training_and_freezing_on_cifar100(small_cifar100, tmp_path):
    dataset = loading.open_dataset('cifar100', str(small_cifar100[0]))
    run = str(tmp_path / 'run')
    with networks.registered():
        networks.train(dataset, run, 4)
        result = freeze.freeze(run, None, output=str(tmp_path / 'x.pb'))
    assert result['classes'] == list(registry.CIFAR100_CLASSES) and result['images'] == 200
    assert 0 <= result['correct'] <= 200 and result['accuracy'] == result['correct'] / 200


@pytest.mark.parametrize('source', ['memory', 'stream'])
def test_the_graph_decodes_cifar100_like_numpy(small_cifar100, source):
    import tensorflow.compat.v1 as tf

    from permafrost.inputs import pipeline
    from permafrost.inputs.augmentation import WHOLE_BATCH
    dataset = loading.open_dataset('cifar100', str(small_cifar100[0]))
    known = {image.tobytes(): label for image, label in zip(*loading.load(dataset, 'train'))}
    with tf.Graph().as_default():
        step = tf.train.get_or_create_global_step()
        raw = pipeline.SOURCES[source](dataset, 25, 1, step, WHOLE_BATCH)
        with tf.train.MonitoredTrainingSession() as session:
            for _ in range(4):
                images, labels = session.run([raw.images, raw.labels])
                assert [known[image.tobytes()] for image in images] == labels.tolist()


def test_a_label_without_a_class_is_refused_though_the_checksum_is_right(tmp_path):
    directory = str(tmp_path / 'data')
    make_synthetic(directory)
    path, manifest = os.path.join(directory, 'test.bin'), os.path.join(directory, 'manifest.json')
    content = bytearray(open(path, 'rb').read())
    content[0] = 10
    with open(path, 'wb') as stream:
        stream.write(content)
    rows = files.read_json(manifest)
    for row in rows:
        if row['name'] == 'test.bin':
            row['checksum'] = hashlib.sha256(content).hexdigest()
    files.write_json(manifest, rows)
    with pytest.raises(UserError, match='it has label 10; labels are 0 to 9'):
        loading.open_dataset('synthetic', directory)


def test_a_missing_file_is_reported_before_others_are_read(synthetic, monkeypatch, tmp_path):
    directory = str(tmp_path / 'data')
    shutil.copytree(synthetic.directory, directory)
    os.unlink(os.path.join(directory, 'test.bin'))
    monkeypatch.setattr(loading, 'content_problem', None)
    with pytest.raises(UserError, match='test.bin: missing'):
        loading.open_dataset('synthetic', directory)

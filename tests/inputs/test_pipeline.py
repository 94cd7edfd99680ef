"""The pipeline: every image once an epoch, a true shuffle, exact resuming, errors that end it."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.datasets import loading, packing, record_format, registry
from permafrost.errors import UsageError, UserError
from permafrost.inputs import pipeline
from permafrost.recipes.recipe import Recipe

BATCH = 20


def numbers_of(images):
    """Return the numbers that `numbered_dataset` wrote into images."""
    return images[:, 3, 5, 1] * 256 + images[:, 7, 2, 2]


def numbered_dataset(directory, count, files, classes=10):
    """Return a Dataset sorted by class, whose images hold their numbers (see numbers_of)."""
    images = np.random.RandomState(0).randint(0, 256, (count, 32, 32, 3))
    images[:, 3, 5, 1], images[:, 7, 2, 2] = np.divmod(np.arange(count), 256)
    labels = np.arange(count) * classes // count
    paths = []
    for part in np.array_split(np.arange(count), files):
        paths.append(os.path.join(str(directory), f'part_{len(paths)}.bin'))
        record_format.encode(images[part].astype(np.uint8), labels[part]).tofile(paths[-1])
    return loading.Dataset('numbered', str(directory), registry.CIFAR10_CLASSES, (32, 32, 3),
                           {'train': paths}, {'train': count})


@pytest.fixture(scope='module')
def sorted_set(tmp_path_factory):
    """1,010 images in 3 files of different lengths, not multiples of the batch."""
    return numbered_dataset(tmp_path_factory.mktemp('numbered'), 1010, 3)


@pytest.fixture(scope='module')
def packed_set(tmp_path_factory):
    """Like `sorted_set`, but of 300 classes, 9x9 pixels and TFRecords; one file is empty."""
    directory = str(tmp_path_factory.mktemp('packed'))
    images = np.random.RandomState(0).randint(0, 256, (1010, 9, 9, 3)).astype(np.uint8)
    images[:, 3, 5, 1], images[:, 7, 2, 2] = np.divmod(np.arange(1010), 256)
    labels = np.arange(1010) * 300 // 1010
    packing.write(directory, list(map(str, range(300))), {'train': (images, labels)})
    opened = loading.open_dataset(directory)
    paths = opened.splits['train'] + [os.path.join(directory, 'empty')]
    open(paths[-1], 'w').close()
    assert len(paths) == 3
    return opened._replace(splits={'train': paths})


@pytest.fixture
def no_preprocessing(monkeypatch):
    """Batches are as in the files."""
    monkeypatch.setattr(pipeline.augmentation, 'preprocess_train',
                        lambda images, *unused: tf.cast(images, tf.float32))


def batches(dataset, count, step=0, worker=0, augmentation=(), batch_size=BATCH,
            shard=pipeline.WHOLE_BATCH, **fields):
    """Return [(images, labels)] of the `count` batches that a session reads from `step` on."""
    recipe = Recipe('test', 24, augmentation, batch_size=batch_size)
    config = Config('tuto', recipe, 100, **dict({'deterministic': True}, **fields))
    with tf.Graph().as_default():
        global_step = tf.get_variable('global_step', [], tf.int64, trainable=False,
                                      initializer=tf.constant_initializer(step))
        tf.add_to_collection(tf.GraphKeys.GLOBAL_STEP, global_step)
        batch = pipeline.training_batches(dataset, config, global_step, worker, shard)
        assert batch[0].shape.as_list()[0] == batch_size // shard.count
        assert batch[1].shape.as_list() == [batch_size // shard.count]
        with tf.train.MonitoredTrainingSession() as session:
            return [session.run(batch) for _ in range(count)]


def all_numbers(read):
    return np.concatenate([numbers_of(images) for images, _ in read]).astype(int)


def assert_images_have_their_labels(read, images, labels):
    for batch, batch_labels in read:
        numbers = numbers_of(batch).astype(int)
        np.testing.assert_array_equal(batch, images[numbers])
        np.testing.assert_array_equal(batch_labels, labels[numbers])


def test_every_image_once_an_epoch_with_its_label(sorted_set, no_preprocessing):
    images, labels = loading.load(sorted_set, 'train')
    read = batches(sorted_set, 3 * 1010 // BATCH + 1)
    numbers = all_numbers(read)
    epochs = [numbers[first:first + 1010] for first in (0, 1010, 2020)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(1010))
    assert (epochs[0] != epochs[1]).mean() > 0.9 and (epochs[1] != epochs[2]).mean() > 0.9
    assert_images_have_their_labels(read[:60], images, labels)


@pytest.mark.parametrize('source', ['memory', 'stream'])
def test_tfrecords_give_every_image_with_its_label(packed_set, no_preprocessing, source):
    images, labels = loading.load(packed_set, 'train')
    np.testing.assert_array_equal(labels, np.arange(1010) * 300 // 1010)
    read = batches(packed_set, 3 * 1010 // BATCH + 1, source=source)
    counts = np.bincount(all_numbers(read), minlength=1010)
    assert len(counts) == 1010
    assert counts.min() >= 3 if source == 'memory' else (counts > 0).mean() > 0.9
    assert_images_have_their_labels(read, images, labels)


@pytest.mark.parametrize('source', ['memory', 'stream'])
@pytest.mark.parametrize('step', [0, 57])
def test_held_out_images_are_never_drawn(packed_set, sorted_set, no_preprocessing, source, step):
    for dataset in (sorted_set, packed_set):
        data = loading.hold_out(dataset._replace(counts={'train': 1010, 'test': 0}), 310, 1)
        read = batches(data, 4 * 700 // BATCH + 1, step, source=source)
        counts = np.bincount(all_numbers(read), minlength=1010)
        assert not counts[list(data.held_out)].any()
        kept = np.delete(counts, data.held_out)
        assert kept.min() >= 3 if source == 'memory' else (kept > 0).mean() > 0.9
        assert_images_have_their_labels(read, *loading.load(dataset, 'train'))


@pytest.mark.parametrize('source', ['memory', 'stream'])
def test_a_path_may_hold_bytes_that_are_not_utf8(source, tmp_path, no_preprocessing):
    directory = os.path.join(str(tmp_path), os.fsdecode(b'data\xff'))
    os.mkdir(directory)
    read = batches(numbered_dataset(directory, 100, 2), 5, source=source)
    assert len(all_numbers(read)) == 100


def test_a_batch_may_be_larger_than_an_epoch(tmp_path, no_preprocessing):
    small = numbered_dataset(tmp_path, 10, 2)
    numbers = all_numbers(batches(small, 4, batch_size=25))
    np.testing.assert_array_equal(np.sort(numbers.reshape(10, 10)),
                                  np.tile(np.arange(10), (10, 1)))


def test_each_image_is_flipped_in_every_other_epoch(sorted_set, monkeypatch):
    """About half of them are flipped in the first epoch."""
    def mark(images, recipe, seed, step, shard, statistics, flip_now):
        return tf.cast(images, tf.float32) + tf.cast(flip_now, tf.float32)[:, None, None, None] / 2
    monkeypatch.setattr(pipeline.augmentation, 'preprocess_train', mark)
    read = batches(sorted_set, 4 * 1010 // BATCH)
    images = np.concatenate([images for images, _ in read])
    flipped = [{} for _ in range(4)]
    for position, image in enumerate(images):
        unmarked = np.floor(image)
        flipped[position // 1010][int(numbers_of(unmarked[None])[0])] = (
            image[0, 0, 0] > unmarked[0, 0, 0])
    first = flipped[0]
    assert 0.4 < np.mean(list(first.values())) < 0.6
    for epoch in range(1, 4):
        assert len(flipped[epoch]) == 1010
        assert all(flipped[epoch][i] == (first[i] != (epoch % 2 == 1)) for i in first)


def test_streams_differ_by_seed_and_worker(sorted_set, no_preprocessing):
    first = all_numbers(batches(sorted_set, 5))
    np.testing.assert_array_equal(first, all_numbers(batches(sorted_set, 5)))
    for other in (batches(sorted_set, 5, seed=2), batches(sorted_set, 5, worker=1)):
        assert (first != all_numbers(other)).mean() > 0.9


@pytest.fixture(scope='module')
def uninterrupted(sorted_set):
    return batches(sorted_set, 125, augmentation=('crop', 'flip', 'brightness', 'contrast'))


# 50.5 batches an epoch: 17 is within the first, 50 across its end, 120 in the third.
@pytest.mark.parametrize('step', [1, 17, 50, 51, 120])
def test_resume_continues_the_random_stream(sorted_set, uninterrupted, step):
    resumed = batches(sorted_set, 5, step, augmentation=('crop', 'flip', 'brightness', 'contrast'))
    for (images, labels), (expected, expected_labels) in zip(resumed, uninterrupted[step:]):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, expected_labels)


def test_resume_from_a_checkpoint_continues_the_stream(sorted_set, tmp_path):
    config = Config('tuto', Recipe('test', 24, batch_size=BATCH), 100, deterministic=True)

    def read_labels(count):
        with tf.Graph().as_default():
            step = tf.train.get_or_create_global_step()
            batch = pipeline.training_batches(sorted_set, config, step)[1]
            with tf.control_dependencies([batch]):
                advance = step.assign_add(1)
            with tf.train.MonitoredTrainingSession(
                    checkpoint_dir=str(tmp_path), save_checkpoint_steps=1000,
                    log_step_count_steps=None) as session:
                return [session.run([batch, advance])[0] for _ in range(count)]

    expected = [labels for _, labels in batches(sorted_set, 67)]
    np.testing.assert_array_equal(read_labels(7) + read_labels(60), expected)


def mixing(read):
    """Return the mean over batches of chi squared of their classes, per degree of freedom.

    Batches drawn from the whole dataset have about 1.
    """
    labels = [labels for _, labels in read]
    counts = np.array([np.bincount(batch, minlength=10) for batch in labels])
    return ((counts - BATCH / 10) ** 2 / (BATCH / 10)).sum(1).mean() / 9


def test_stream_shuffles_what_is_sorted_by_class(sorted_set, no_preprocessing, monkeypatch):
    # 45 batches of one epoch: chi squared of 405 degrees of freedom has a deviation of 0.07. The
    # queue draws from what its readers have read (1.29 was measured on a busy machine).
    assert mixing(batches(sorted_set, 45, source='stream')) < 1.5
    assert mixing(batches(sorted_set, 45)) < 1.25
    # The measure works: a short shuffle queue fails it, and so does none.
    monkeypatch.setattr(pipeline, 'SHUFFLE_BUFFER', 2 * BATCH)
    monkeypatch.setattr(pipeline, 'READ_BATCH', 4)
    assert mixing(batches(sorted_set, 45, source='stream')) > 2
    monkeypatch.setattr(tf, 'RandomShuffleQueue',
                        lambda capacity, least, *rest, seed: tf.FIFOQueue(capacity, *rest))
    assert mixing(batches(sorted_set, 45, source='stream')) > 10


def test_stream_shows_every_image_about_equally_often(sorted_set, no_preprocessing, monkeypatch):
    images, labels = loading.load(sorted_set, 'train')
    monkeypatch.setattr(pipeline, 'READ_BATCH', 16)  # a long queue may keep an image for epochs
    read = batches(sorted_set, 6 * 1010 // BATCH, source='stream')
    counts = np.bincount(all_numbers(read), minlength=1010)
    assert len(counts) == 1010 and counts.min() >= 1 and 5.9 < counts.mean() < 6.1
    assert counts.max() < 20
    assert_images_have_their_labels(read[:10], images, labels)


def test_a_resumed_stream_reads_the_rest_of_its_epoch(tmp_path, no_preprocessing, monkeypatch):
    monkeypatch.setattr(tf, 'RandomShuffleQueue',
                        lambda capacity, least, *rest, seed: tf.FIFOQueue(capacity, *rest))
    dataset = numbered_dataset(tmp_path, 1000, 10)
    whole = all_numbers(batches(dataset, 1000 // BATCH, source='stream'))
    np.testing.assert_array_equal(np.sort(whole), np.arange(1000))
    for step, read in ((550 // BATCH, 500), (20 + 1000 // BATCH, 400)):  # in another epoch, too
        epoch = all_numbers(batches(dataset, 1000 // BATCH, step // 50 * 50, source='stream'))
        rest = all_numbers(batches(dataset, (1000 - read) // BATCH, step, source='stream'))
        np.testing.assert_array_equal(rest, epoch[read:])


def test_shards_together_are_the_batch(sorted_set, uninterrupted):
    augmentation = ('crop', 'flip', 'brightness', 'contrast')
    shards = [batches(sorted_set, 3, step=49, shard=pipeline.Shard(index, 4),
                      augmentation=augmentation) for index in range(4)]
    for number, batch in enumerate(uninterrupted[49:52]):
        for kind in (0, 1):  # images, labels
            together = np.concatenate([shard[number][kind] for shard in shards])
            # The last bit depends on where vectors end.
            np.testing.assert_allclose(together, batch[kind], atol=1e-6)
    with pytest.raises(UsageError, match='batch_size=20 is not divisible by 3 workers'):
        batches(sorted_set, 1, shard=pipeline.Shard(0, 3))


def test_the_stream_starts_elsewhere_for_another_seed_or_worker(sorted_set, no_preprocessing):
    first = all_numbers(batches(sorted_set, 2, source='stream'))
    for changes in ({'seed': 2}, {'worker': 1}):
        other = all_numbers(batches(sorted_set, 2, source='stream', **changes))
        assert (first != other).mean() > 0.9


@pytest.mark.parametrize('batch_size', [1, 7, 128, 500, 1000])
def test_evaluation_is_in_order_and_drops_nothing(synthetic, batch_size):
    images, labels = loading.load(synthetic, 'test')
    read = list(pipeline.evaluation_batches(images, labels, batch_size))
    assert [len(batch) for batch, _ in read[:-1]] == [batch_size] * (len(read) - 1)
    assert 0 < len(read[-1][0]) <= batch_size
    np.testing.assert_array_equal(np.concatenate([batch for batch, _ in read]), images)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in read]), labels)


@pytest.mark.parametrize('source,harm', [
    ('memory', 'missing'), ('memory', 'cut'), ('stream', 'missing')])
def test_an_error_while_reading_ends_the_session(tmp_path, source, harm):
    broken = numbered_dataset(tmp_path, 200, 2)
    if harm == 'missing':
        os.remove(broken.splits['train'][1])
    else:
        with open(broken.splits['train'][1], 'r+b') as stream:
            stream.truncate(50 * 3073 + 100)
    with pytest.raises(tf.errors.OpError) as error:
        batches(broken, 20, source=source)
    assert not isinstance(error.value, tf.errors.OutOfRangeError)
    if harm == 'missing':
        assert broken.splits['train'][1] in str(error.value)


@pytest.mark.parametrize('source', ['memory', 'stream'])
def test_an_error_during_training_ends_the_session(sorted_set, source, monkeypatch):
    def fail(images, recipe, seed, step, *unused):
        with tf.control_dependencies([tf.assert_less(step, tf.constant(5, tf.int64),
                                                     message='step five')]):
            return tf.cast(images, tf.float32)
    monkeypatch.setattr(pipeline.augmentation, 'preprocess_train', fail)
    with pytest.raises(tf.errors.InvalidArgumentError, match='step five'):
        batches(sorted_set, 200, source=source)


def test_an_unknown_source_and_an_empty_dataset_are_refused(sorted_set):
    with pytest.raises(UserError, match="unknown source 'disk'"):
        batches(sorted_set, 1, source='disk')
    with pytest.raises(UserError, match='no image to train on'):
        batches(sorted_set._replace(counts={'train': 0}), 1)

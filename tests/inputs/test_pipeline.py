"""The pipeline: every image once an epoch, a true shuffle, exact resuming, errors that end it."""

import os
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.datasets import loading, packing, record_format, registry
from permafrost.errors import UsageError, UserError
from permafrost.inputs import pipeline
from permafrost.recipes.recipe import Recipe

tf.disable_v2_behavior()
tf.enable_resource_variables()

BATCH = 20


def number(images):
    """The numbers that `numbered` wrote into images."""
    return images[:, 3, 5, 1] * 256 + images[:, 7, 2, 2]


def numbered(directory, count, files, classes=10):
    """A DataSet sorted by class, whose images know their number (see `number`)."""
    images = np.random.RandomState(0).randint(0, 256, (count, 32, 32, 3))
    images[:, 3, 5, 1], images[:, 7, 2, 2] = np.divmod(np.arange(count), 256)
    labels = np.arange(count) * classes // count
    paths = []
    for part in np.array_split(np.arange(count), files):
        paths.append(os.path.join(str(directory), 'part_%d.bin' % len(paths)))
        record_format.encode(images[part].astype(np.uint8), labels[part]).tofile(paths[-1])
    return loading.Dataset('numbered', str(directory), registry.CIFAR10_CLASSES, (32, 32, 3),
                        {'train': paths}, {'train': count})


@pytest.fixture(scope='module')
def sorted_set(tmp_path_factory):
    """1,010 images in 3 files, not all of one length: no multiple of the batch."""
    return numbered(tmp_path_factory.mktemp('numbered'), 1010, 3)


@pytest.fixture(scope='module')
def packed_set(tmp_path_factory):
    """As `sorted_set`, of 300 classes, 9x9 pixels and TFRecords; one file is empty."""
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
def plain(monkeypatch):
    """Batches come out as they are in the files."""
    monkeypatch.setattr(pipeline.augmentation, 'preprocess_train',
                        lambda images, *unused: tf.cast(images, tf.float32))


def batches(dataset, count, step=0, worker=0, augmentation=(), batch=BATCH, part=(0, 1),
            **changes):
    """[(images, labels)] of the `count` batches that a session takes from `step` on."""
    recipe = Recipe('test', 24, augmentation, batch_size=batch)
    settings = Config('tuto', recipe, 100, **dict({'deterministic': True}, **changes))
    with tf.Graph().as_default():
        global_step = tf.get_variable('global_step', [], tf.int64, trainable=False,
                                      initializer=tf.constant_initializer(step))
        tf.add_to_collection(tf.GraphKeys.GLOBAL_STEP, global_step)
        both = pipeline.training_batches(dataset, settings, global_step, worker, part)
        assert both[0].shape.as_list()[0] == batch // part[1]
        assert both[1].shape.as_list() == [batch // part[1]]
        with tf.train.MonitoredTrainingSession() as session:
            return [session.run(both) for _ in range(count)]


def numbers(taken):
    return np.concatenate([number(images) for images, _ in taken]).astype(int)


def test_every_image_once_an_epoch_with_its_label(sorted_set, plain):
    images, labels = loading.load(sorted_set, 'train')
    taken = batches(sorted_set, 3 * 1010 // BATCH + 1)
    seen = numbers(taken)
    epochs = [seen[first:first + 1010] for first in (0, 1010, 2020)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(1010))
    assert (epochs[0] != epochs[1]).mean() > 0.9 and (epochs[1] != epochs[2]).mean() > 0.9
    for found, truth in taken[:60]:
        np.testing.assert_array_equal(found, images[number(found).astype(int)])
        np.testing.assert_array_equal(truth, labels[number(found).astype(int)])


@pytest.mark.parametrize('source', ['memory', 'stream'])
def test_tfrecords_give_every_image_with_its_label(packed_set, plain, source):
    images, labels = loading.load(packed_set, 'train')
    np.testing.assert_array_equal(labels, np.arange(1010) * 300 // 1010)
    taken = batches(packed_set, 3 * 1010 // BATCH + 1, source=source)
    seen = np.bincount(numbers(taken), minlength=1010)
    assert len(seen) == 1010
    assert seen.min() >= 3 if source == 'memory' else (seen > 0).mean() > 0.9
    for found, truth in taken:
        np.testing.assert_array_equal(found, images[number(found).astype(int)])
        np.testing.assert_array_equal(truth, labels[number(found).astype(int)])


def test_a_batch_may_be_larger_than_an_epoch(tmp_path, plain):
    small = numbered(tmp_path, 10, 2)
    seen = numbers(batches(small, 4, batch=25))
    np.testing.assert_array_equal(np.sort(seen.reshape(10, 10)), np.tile(np.arange(10), (10, 1)))


def test_turns_alternate_by_epoch(sorted_set, monkeypatch):
    """Each image is mirrored in every other epoch, about half of them in the first."""
    def marked(images, recipe, seed, step, part, statistics, turn):
        return tf.cast(images, tf.float32) + tf.cast(turn, tf.float32)[:, None, None, None] / 2
    monkeypatch.setattr(pipeline.augmentation, 'preprocess_train', marked)
    taken = batches(sorted_set, 4 * 1010 // BATCH)
    images = np.concatenate([images for images, _ in taken])
    turned = [{} for _ in range(4)]
    for place, image in enumerate(images):
        whole = np.floor(image)
        turned[place // 1010][int(number(whole[None])[0])] = image[0, 0, 0] > whole[0, 0, 0]
    first = turned[0]
    assert 0.4 < np.mean(list(first.values())) < 0.6
    for epoch in range(1, 4):
        assert len(turned[epoch]) == 1010
        assert all(turned[epoch][i] == (first[i] != (epoch % 2 == 1)) for i in first)


def test_streams_differ_by_seed_and_worker(sorted_set, plain):
    first = numbers(batches(sorted_set, 5))
    np.testing.assert_array_equal(first, numbers(batches(sorted_set, 5)))
    for other in (batches(sorted_set, 5, seed=2), batches(sorted_set, 5, worker=1)):
        assert (first != numbers(other)).mean() > 0.9


@pytest.mark.parametrize('step', [1, 17, 50, 51, 120])
def test_resuming_goes_on_in_the_same_stream(sorted_set, step):
    # 50.5 batches an epoch: 17 is in mid-epoch, 50 across its end, 120 in the third.
    augmentation = ('crop', 'flip', 'brightness', 'contrast')
    whole = batches(sorted_set, 125, augmentation=augmentation)
    resumed = batches(sorted_set, 5, step, augmentation=augmentation)
    for (images, labels), (expected, truth) in zip(resumed, whole[step:]):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, truth)


def test_resuming_from_a_checkpoint(sorted_set, tmp_path):
    settings = Config('tuto', Recipe('test', batch_size=BATCH), 100,
                             deterministic=True)

    def labels(count):
        with tf.Graph().as_default():
            step = tf.train.get_or_create_global_step()
            batch = pipeline.training_batches(sorted_set, settings, step)[1]
            with tf.control_dependencies([batch]):
                advance = step.assign_add(1)
            with tf.train.MonitoredTrainingSession(
                    checkpoint_dir=str(tmp_path), save_checkpoint_steps=1000,
                    log_step_count_steps=None) as session:
                return [session.run([batch, advance])[0] for _ in range(count)]
    found = labels(7) + labels(60)
    expected = [truth for _, truth in batches(sorted_set, 67)]
    np.testing.assert_array_equal(found, expected)


def mixing(labels):
    """How far the classes of batches are from those of draws from the whole set: 1 is chance.

    The mean over batches of chi squared, divided by its degrees of freedom.
    """
    counts = np.array([np.bincount(batch, minlength=10) for batch in labels])
    return ((counts - BATCH / 10) ** 2 / (BATCH / 10)).sum(1).mean() / 9


def test_stream_shuffles_what_is_sorted_by_class(sorted_set, plain, monkeypatch):
    # 45 batches of one epoch: chi squared of 405 degrees of freedom has a deviation of 0.07. What
    # a queue draws from depends on how far its readers have got (1.29 was seen on a busy machine).
    assert mixing([labels for _, labels in batches(sorted_set, 45, source='stream')]) < 1.5
    assert mixing([labels for _, labels in batches(sorted_set, 45)]) < 1.25
    # The measure tells: a short queue fails it, and so does none.
    monkeypatch.setattr(pipeline, 'SHUFFLE_BUFFER', 2 * BATCH)
    monkeypatch.setattr(pipeline, 'READ_BATCH', 4)
    assert mixing([labels for _, labels in batches(sorted_set, 45, source='stream')]) > 2
    monkeypatch.setattr(tf, 'RandomShuffleQueue',
                        lambda capacity, least, *rest, seed: tf.FIFOQueue(capacity, *rest))
    assert mixing([labels for _, labels in batches(sorted_set, 45, source='stream')]) > 10


def test_stream_shows_every_image_about_equally_often(sorted_set, plain):
    images, labels = loading.load(sorted_set, 'train')
    taken = batches(sorted_set, 6 * 1010 // BATCH, source='stream')
    seen = np.bincount(numbers(taken), minlength=1010)
    assert len(seen) == 1010 and seen.min() >= 1 and 5.9 < seen.mean() < 6.1
    assert seen.max() < 20
    for found, truth in taken[:10]:
        np.testing.assert_array_equal(found, images[number(found).astype(int)])
        np.testing.assert_array_equal(truth, labels[number(found).astype(int)])


def test_parts_of_batches_make_the_whole(sorted_set):
    distorted = {'augmentation': ('crop', 'flip', 'brightness', 'contrast')}
    whole = batches(sorted_set, 3, step=49, **distorted)
    parts = [batches(sorted_set, 3, step=49, part=(k, 4), **distorted) for k in range(4)]
    for number, batch in enumerate(whole):
        for kind in (0, 1):
            np.testing.assert_allclose(  # the last bit depends on where vectors end
                np.concatenate([part[number][kind] for part in parts]), batch[kind], atol=1e-6)
    with pytest.raises(UsageError, match='cannot be parted among 3 workers'):
        batches(sorted_set, 1, part=(0, 3))


def test_stream_starts_elsewhere_for_another_seed_or_worker(sorted_set, plain):
    first = numbers(batches(sorted_set, 2, source='stream'))
    for changes in ({'seed': 2}, {'worker': 1}):
        other = numbers(batches(sorted_set, 2, source='stream', **changes))
        assert (first != other).mean() > 0.9


@pytest.mark.parametrize('batch_size', [1, 7, 128, 500, 1000])
def test_evaluation_is_in_order_and_drops_nothing(synthetic, batch_size):
    images, labels = loading.load(synthetic, 'test')
    parts = list(pipeline.evaluation_batches(images, labels, batch_size))
    assert [len(part) for part, _ in parts[:-1]] == [batch_size] * (len(parts) - 1)
    assert 0 < len(parts[-1][0]) <= batch_size
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), images)
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), labels)


@pytest.mark.parametrize('source,harm', [
    ('memory', 'missing'), ('memory', 'cut'), ('stream', 'missing')])
def test_an_error_while_reading_ends_the_session(tmp_path, source, harm):
    broken = numbered(tmp_path, 200, 2)
    if harm == 'missing':
        os.remove(broken.splits['train'][1])
    else:
        with open(broken.splits['train'][1], 'r+b') as stream:
            stream.truncate(50 * 3073 + 100)
    started = time.time()
    with pytest.raises(tf.errors.OpError) as caught:
        batches(broken, 20, source=source)
    assert time.time() - started < 60
    assert not isinstance(caught.value, tf.errors.OutOfRangeError)
    if harm == 'missing':
        assert broken.splits['train'][1] in str(caught.value)


@pytest.mark.parametrize('source', ['memory', 'stream'])
def test_an_error_in_mid_training_ends_the_session(sorted_set, source, monkeypatch):
    def failing(images, recipe, seed, step, *unused):
        with tf.control_dependencies([tf.assert_less(step, tf.constant(5, tf.int64),
                                                     message='step five')]):
            return tf.cast(images, tf.float32)
    monkeypatch.setattr(pipeline.augmentation, 'preprocess_train', failing)
    started = time.time()
    with pytest.raises(tf.errors.InvalidArgumentError, match='step five'):
        batches(sorted_set, 200, source=source)
    assert time.time() - started < 60


def test_sources_are_known(sorted_set):
    with pytest.raises(UserError, match="unknown source 'disk'"):
        batches(sorted_set, 1, source='disk')
    with pytest.raises(UserError, match='no image to train on'):
        batches(sorted_set._replace(counts={'train': 0}), 1)

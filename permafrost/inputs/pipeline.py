"""Files to queues to batches, next to the training step. Evaluation needs no queue.

    memory:  order of the images -> [queue of indices] -> gather  -> augment -> [batches]
    stream:  order of the files  -> [queue of names] -> read -> [shuffled records]
                                               -> decode -> augment -> [batches]

Brackets are queues. Queue runners, which MonitoredTrainingSession starts and stops, fill them. An
error in one of them closes the queues and ends the session with that error.
"""

import os
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from models.layers import random_seeds
from permafrost.config import Config
from permafrost.datasets import loading, registry
from permafrost.errors import UserError, printable, unknown_name_error
from permafrost.inputs import augmentation
from permafrost.inputs.augmentation import WHOLE_BATCH, Shard
from permafrost.recipes import checks

PREFETCH = 4  # batches that wait for the training step
READ_BATCH = 256  # records read from a file at a time
SHUFFLE_BUFFER = 50000  # records that the stream source draws from: 154 MB of CIFAR-10
SHUFFLE_BYTES = 256e6  # the largest buffer, unless that is less than four batches
FILL_BATCH = 500  # records decoded at a time; most of the time goes into touching new memory
SAMPLE = 5000  # images from which whitening filters are computed
WORKER_SEED = 1000003  # between the seeds of two workers


# Returns a teacher's logits, float32 [B, classes], for images, uint8 [B, H, W, 3].
Teach = Callable[[tf.Tensor], tf.Tensor]


class RawBatch(NamedTuple):
    """A batch of a source, or a shard of it, as decoded."""
    images: tf.Tensor  # uint8 [B, H, W, 3]
    labels: tf.Tensor  # int64 [B]
    index: tf.Tensor  # int64: the number of the batch, which keys its random numbers
    flip_now: Optional[tf.Tensor] = None  # bool [B]; see Params


def training_batches(dataset: loading.Dataset, config: Config, step: tf.Tensor, worker: int = 0,
                     shard: Shard = WHOLE_BATCH, teach: Optional[Teach] = None
                     ) -> Tuple[tf.Tensor, ...]:
    """Return the next batch of the endless stream of augmented training images and their labels.

    That is float32 [B / shard.count, h, w, 3] and int64 [B / shard.count]: slice `shard` of each
    batch of this `worker`, which has a stream of its own. The stream starts at image `step * B`
    when the session starts. From memory, batch k depends on the seed and on k alone, so a resumed
    run continues its stream, `deterministic` or not; the stream source continues about there, at
    the beginning of a file. With `teach`, the third tensor is its answer to
    augmentation.teacher_view.

    Raises UserError if the source is unknown, has no image or too many, or B cannot be split. The
    session ends with an error if the stream source reads a dataset that is packed again.
    """
    if config.source not in SOURCES:
        raise unknown_name_error('source', config.source, SOURCES)
    if not dataset.counts['train']:
        raise UserError(f'{dataset.name} in {dataset.directory} has no image to train on')
    batch_size = config.recipe.batch_size
    checks.check_batch_size(batch_size, shard.count)
    seed = config.seed + WORKER_SEED * worker
    with tf.device('/cpu:0'), tf.name_scope('inputs'):
        raw = SOURCES[config.source](dataset, batch_size, seed, step, shard)
        images = augmentation.preprocess_train(
            raw.images, config.recipe, seed, raw.index, shard, config.statistics, raw.flip_now)
        batch = [images, raw.labels]
        if teach:
            views = augmentation.teacher_view(
                raw.images, config.recipe, seed, raw.index, shard, raw.flip_now)
            with tf.device(None):  # a GPU, if there is one
                batch.append(teach(views))
        ready = tf.FIFOQueue(PREFETCH, [tensor.dtype for tensor in batch],
                             [tensor.shape for tensor in batch])
        guards: List[tf.Operation] = []
        if config.source == 'stream' and config.dataset == registry.TFRECORDS:
            with tf.control_dependencies(batch):  # when its records have been read
                guards = [tf.py_func(loading.change_detector(dataset), [], [])]
        with tf.control_dependencies(guards):
            enqueue = ready.enqueue(batch)
        _add_queue_runner(ready, enqueue)
        return ready.dequeue()


def _next_epoch(step: tf.Tensor, batch_size: int, count: int) -> Tuple[tf.Tensor, tf.Tensor]:
    """Return the number of the next epoch, one more each time, and how many images it leaves out.

    An epoch has `count` images. A training that begins at `step` leaves out those that its first
    epoch had already.
    """
    start = _local_variable('start', tf.cast(step, tf.int64) * batch_size)
    next_epoch = _local_variable('epoch', tf.cast(step, tf.int64) * batch_size // count)
    epoch = next_epoch.assign_add(1) - 1
    return epoch, tf.maximum(start - epoch * count, 0)


def _from_memory(dataset: loading.Dataset, batch_size: int, seed: int, step: tf.Tensor,
                 shard: Shard) -> RawBatch:
    """Return the next batch of the endless sequence of epochs: each has every image once.

    The images stay in memory, one byte per value.
    """
    count = dataset.counts['train']
    loading.check_memory(dataset, 'train', len(dataset.held_out))
    images, labels = _load(dataset)
    epoch, skip = _next_epoch(step, batch_size, count)
    positions = epoch * count + tf.range(count, dtype=tf.int64)
    # Making the order of 50,000 images takes 10 ms; the queue lasts for 30.
    queue = tf.FIFOQueue(16 * batch_size, [tf.int32, tf.int64], [[], []])
    order = _epoch_permutation(count, seed, epoch)
    _add_queue_runner(queue, queue.enqueue_many([order[skip:], positions[skip:]]))
    rows, positions = queue.dequeue_many(batch_size)
    index = positions[0] // batch_size
    rows, epochs = (tf.split(values, shard.count)[shard.index]
                    for values in (rows, positions // count))
    # The name is part of the seed: another one would flip other images.
    flip_first = tf.random.stateless_uniform([count], random_seeds.seeds(seed, 'turn')) < 0.5
    flip_now = tf.not_equal(tf.gather(flip_first, rows), tf.equal(epochs % 2, 1))
    if dataset.held_out:  # then `images` has more rows
        rows = tf.gather(np.delete(np.arange(count + len(dataset.held_out), dtype=np.int32),
                                   dataset.held_out), rows)
    return RawBatch(tf.gather(images, rows), tf.gather(labels, rows), index, flip_now)


def _from_stream(dataset: loading.Dataset, batch_size: int, seed: int, step: tf.Tensor,
                 shard: Shard) -> RawBatch:
    """Return a batch drawn from the records in a shuffle buffer, or from all if there are fewer.

    Files in any order are then shuffled well. A larger dataset should have many files, or be
    written in random order, as `packing` does.
    """
    files, record_bytes = dataset.splits['train'], dataset.record_format.record_bytes
    buffer_size = min(SHUFFLE_BUFFER, dataset.counts['train'],
                      max(int(SHUFFLE_BYTES / record_bytes), 4 * batch_size))
    read_size = max(1, min(READ_BATCH, int(1e6 / record_bytes)))
    size, count = batch_size // shard.count, dataset.counts['train']
    epoch, skip = _next_epoch(step, size, count)
    order = _epoch_permutation(len(files), seed, epoch)[skip * len(files) // count:]
    names = tf.FIFOQueue(len(files), [tf.string], [[]])
    _add_queue_runner(names, names.enqueue_many(
        [tf.gather(tf.constant([os.fsencode(path) for path in files]), order)]))
    reader = tf.FixedLengthRecordReader(record_bytes)
    records = tf.RandomShuffleQueue(buffer_size + 8 * max(read_size, batch_size), buffer_size,
                                    [tf.string], [[]], seed=seed)
    keys, read = reader.read_up_to(names, read_size)
    if dataset.held_out:
        read = tf.boolean_mask(read, tf.logical_not(_held_out_table(dataset).lookup(keys)))
    _add_queue_runner(records, records.enqueue_many([read]))
    # Which records a batch has is up to the threads.
    images, labels = _decode(records.dequeue_many(size), dataset, size)
    next_index = _local_variable('number', tf.cast(step, tf.int64))
    return RawBatch(images, labels, next_index.assign_add(1) - 1)


def _held_out_table(dataset: loading.Dataset) -> tf.lookup.StaticHashTable:
    """Return a table of the records that are held out: the reader's key, path:row, to True."""
    keys = [os.fsencode(f'{path}:{row}') for path, (_, rows) in zip(
        dataset.splits['train'], loading.rows_of(dataset, 'validation')) for row in rows]
    initializer = tf.lookup.KeyValueTensorInitializer(
        tf.constant(keys), tf.constant([True] * len(keys)))
    return tf.lookup.StaticHashTable(initializer, False)


SOURCES: Dict[str, Callable[..., RawBatch]] = {'memory': _from_memory, 'stream': _from_stream}


def sample_images(dataset: loading.Dataset, config: Config,
                  session_config: Optional[tf.ConfigProto]) -> np.ndarray:
    """Return evenly spaced training images, preprocessed without augmentation.

    float32 [n, h, w, 3], n <= SAMPLE. The dataset need not fit in memory.
    """
    images = loading.every_nth(dataset, 'train', -(-dataset.counts['train'] // SAMPLE))
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        decoded = tf.placeholder(tf.uint8, (None,) + images.shape[1:])
        inputs = augmentation.preprocess_eval(decoded, config.recipe, config.statistics)
        return session.run(inputs, {decoded: images})


def evaluation_batches(images: np.ndarray, labels: np.ndarray,
                       batch_size: int) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """Yield (images, labels) in order, every image once; the last batch may be short."""
    for first in range(0, len(images), batch_size):
        yield images[first:first + batch_size], labels[first:first + batch_size]


def _decode(records: tf.Tensor, dataset: loading.Dataset,
            count: int = -1) -> Tuple[tf.Tensor, tf.Tensor]:
    """Return uint8 [count, H, W, 3] and int64 [count] of strings of `count` whole records.

    This is record_format.decode as operations: the pipeline decodes in its own threads.
    """
    record_format = dataset.record_format
    height, width, channels = record_format.image_shape
    rows = tf.reshape(tf.decode_raw(records, tf.uint8), [count, record_format.record_bytes])
    images = rows[:, record_format.image]
    if record_format.channels_first:
        images = tf.transpose(tf.reshape(images, [count, channels, height, width]), [0, 2, 3, 1])
    images = tf.reshape(images, [count, height, width, channels])
    digits = tf.cast(rows[:, record_format.label], tf.int64) % 128
    place_values = [128 ** i for i in range(digits.shape[1])]
    return images, tf.reduce_sum(digits * tf.constant(place_values, tf.int64), 1)


def _load(dataset: loading.Dataset) -> Tuple[tf.Variable, tf.Variable]:
    """Return all images and labels in the files of 'train', those that are held out too.

    They are local variables, filled when a session starts.
    """
    count = dataset.counts['train'] + len(dataset.held_out)
    images = _local_variable('images', tf.raw_ops.Empty(
        shape=(count,) + tuple(dataset.image_shape), dtype=tf.uint8))
    labels = _local_variable('labels', tf.zeros([count], tf.int64))
    done: List[Any] = [images.initializer, labels.initializer]
    row = 0
    for name in dataset.splits['train']:
        with tf.control_dependencies(done):
            # If the name were a constant, Grappler would read the file to fold it into one.
            content = tf.read_file(tf.placeholder_with_default(os.fsencode(name), []))
        row = _fill([images, labels], row, content, dataset)
        done = [row]
    complete = tf.assert_equal(row, count, message=f'{printable(dataset.directory)} has changed')
    # Initialized with the local variables.
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, tf.group(complete))
    return images, labels


def _fill(variables: List[tf.Variable], start: Any, content: tf.Tensor,
          dataset: loading.Dataset) -> tf.Tensor:
    """Write the records of `content` into `variables` from row `start` on; return the next row."""
    size = dataset.record_format.record_bytes
    stop = start + tf.strings.length(content) // size

    def write(row):
        chunk = tf.strings.substr(content, (row - start) * size, FILL_BATCH * size)
        values = _decode(chunk, dataset)
        next_row = row + tf.size(values[-1])
        with tf.control_dependencies([
                variable.scatter_update(tf.IndexedSlices(value, tf.range(row, next_row)))
                for variable, value in zip(variables, values)]):
            return tf.identity(next_row)

    return tf.while_loop(lambda row: row < stop, write, [start], parallel_iterations=1)


def _epoch_permutation(count: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Return the order of `count` things in an epoch: a permutation, int32 [count]."""
    keys = tf.random.stateless_uniform([count], random_seeds.seeds(seed, 'order', epoch),
                                       0, 2 ** 62, tf.int64)
    return tf.nn.top_k(keys, count).indices


def _local_variable(name: str, value: tf.Tensor) -> tf.Variable:
    """Return a variable of this process, set when its session starts, after any restore."""
    return tf.Variable(value, trainable=False, collections=[tf.GraphKeys.LOCAL_VARIABLES],
                       name=name, use_resource=True)


def _add_queue_runner(queue: tf.QueueBase, enqueue: tf.Operation) -> None:
    """Fill `queue` with one thread, which keeps the order: at least 40,000 images/s."""
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))

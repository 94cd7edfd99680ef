"""Files -> queues -> batches, beside the training step. Evaluation needs no queue.

    memory:  order of the images -> [queue of indices] -> gather  -> augment -> [batches]
    stream:  order of the files  -> [queue of names] -> read -> [shuffled records]
                                               -> decode -> augment -> [batches]

Brackets are queues; queue runners, which MonitoredTrainingSession starts and stops, fill
them. An error in one of them closes the queues and ends the session with that error.
"""

import tensorflow.compat.v1 as tf

from models.layers import random_seeds
from permafrost.datasets import loading
from permafrost.errors import UsageError, UserError, unknown_name_error
from permafrost.inputs import augmentation

PREFETCH = 4  # batches that wait for the training step
READ_BATCH = 256  # records read from a file at a time
SHUFFLE_BUFFER = 50000  # records among which the stream source draws: 154 MB of CIFAR-10
WORKER_SEED = 1000003  # between the seeds of two workers
SHUFFLED_BYTES = 256e6  # and no more than that, but some batches


def training_batches(dataset, config, step, worker=0, part=(0, 1)):
    """The endless stream of distorted training batches of `config`.

    Args:
        data_set: a data.DataSet.
        config: a Config; says the recipe, the source and the seed.
        step: the global step. The stream starts at image `step * batch_size` when the
            session starts. From memory, batch k depends on the seed and on k alone, so that
            a resumed run goes on in the very stream that it left, `deterministic` or not;
            the stream source goes on in the epoch of files that it left.
        worker: the number of this worker; each has its own stream.
        part: (k, n): the k-th of n equal parts of each batch of the stream, and no more.

    Returns:
        images float32 [B / n, h, w, 3] and labels int64 [B / n], of known shape.

    Raises:
        UserError: the source is unknown, there is no image or too many for the source, or B
            cannot be parted.
    """
    if config.source not in SOURCES:
        raise unknown_name_error('source', config.source, SOURCES)
    if not dataset.counts['train']:
        raise UserError('%s in %s has no image to train on' %
                                (dataset.name, dataset.directory))
    seed = config.seed + WORKER_SEED * worker
    batch = config.recipe.batch_size
    if batch % part[1]:
        raise UsageError('batches of %d images cannot be parted among %d workers: --set '
                                 'batch_size to a multiple' % (batch, part[1]))
    with tf.device('/cpu:0'), tf.name_scope('inputs'):
        images, labels, number, *turn = SOURCES[config.source](dataset, batch, seed, step, part)
        images = augmentation.preprocess_train(images, config.recipe, seed, number, part, config.statistics,
                                  *turn)
        ready = tf.FIFOQueue(PREFETCH, [tf.float32, tf.int64], [images.shape, labels.shape])
        _run(ready, ready.enqueue([images, labels]))
        return ready.dequeue()


def _memory(dataset, batch, seed, step, part):
    """The next batch of the endless sequence of epochs: every image exactly once in each.

    The images stay in memory, one byte a value. Returns images uint8 [B, H, W, 3], labels
    int64 [B], the number of the batch, on which (and on the seed) its content depends, and whose
    turn to be mirrored it is: bool [B]; see augment.Distortion.
    """
    count = dataset.counts['train']
    loading.check_memory(dataset, 'train')
    images, labels = _load(dataset, 'train')
    start = _local('start', tf.cast(step, tf.int64) * batch)
    epoch = _local('epoch', tf.cast(step, tf.int64) * batch // count)
    now = epoch.assign_add(1) - 1
    skip = tf.maximum(start - now * count, 0)
    positions = now * count + tf.range(count, dtype=tf.int64)
    # Making the order of 50,000 images takes 10 ms; what waits here lasts for 30.
    queue = tf.FIFOQueue(16 * batch, [tf.int32, tf.int64], [[], []])
    _run(queue, queue.enqueue_many([_order(count, seed, now)[skip:], positions[skip:]]))
    index, position = queue.dequeue_many(batch)
    number, epoch = position[0] // batch, position // count
    index, epoch = (tf.split(whole, part[1])[part[0]] for whole in (index, epoch))
    first = tf.random.stateless_uniform([count], random_seeds.seeds(seed, 'turn')) < 0.5
    turn = tf.not_equal(tf.gather(first, index), tf.equal(epoch % 2, 1))
    return tf.gather(images, index), tf.gather(labels, index), number, turn


def _stream(dataset, batch, seed, step, part):
    """Batches drawn from records that pass by. Returns what `_memory` does, but no turns.

    Each draw is among SHUFFLED records, or among all where there are fewer: a true shuffle
    of files in any order. Larger sets should be many files, or be written in random order, as
    `packing` does.
    """
    files, record = dataset.splits['train'], dataset.layout.size
    size = min(SHUFFLE_BUFFER, dataset.counts['train'], max(int(SHUFFLED_BYTES / record), 4 * batch))
    read = max(1, min(READ_BATCH, int(1e6 / record)))
    epoch = _local('epoch', tf.cast(step, tf.int64) * batch // dataset.counts['train'])
    names = tf.FIFOQueue(len(files), [tf.string], [[]])
    _run(names, names.enqueue_many(
        [tf.gather(tf.constant(files), _order(len(files), seed, epoch.assign_add(1) - 1))]))
    reader = tf.FixedLengthRecordReader(dataset.layout.size)
    records = tf.RandomShuffleQueue(size + 8 * max(read, batch), size, [tf.string], [[]],
                                    seed=seed)
    _run(records, records.enqueue_many([reader.read_up_to(names, read)[1]]))
    batch //= part[1]  # which of the records is up to the threads
    images, labels = _decode(records.dequeue_many(batch), dataset, batch)
    number = _local('number', tf.cast(step, tf.int64))
    return images, labels, number.assign_add(1) - 1


SOURCES = {'memory': _memory, 'stream': _stream}


def sample_images(dataset, config, session_config, count=5000):
    """Evenly picked training images as the network sees them undistorted: float32 [n, h, w, 3].

    `count` at most, of a data set that need not fit in memory.
    """
    images = loading.every_nth(dataset, 'train', -(-dataset.counts['train'] // count))
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        decoded = tf.placeholder(tf.uint8, (None,) + images.shape[1:])
        seen = augmentation.preprocess_eval(decoded, config.recipe, config.statistics)
        return session.run(seen, {decoded: images})


def evaluation_batches(images, labels, batch_size):
    """Yields (images, labels) in order, every image once; the last batch may be short."""
    for first in range(0, len(images), batch_size):
        yield images[first:first + batch_size], labels[first:first + batch_size]


def _decode(rows, dataset, count=-1):
    """Strings of `count` whole records -> uint8 [count, H, W, 3] and int64 [count]."""
    layout = dataset.layout
    height, width, channels = layout.shape
    rows = tf.reshape(tf.decode_raw(rows, tf.uint8), [count, layout.size])
    images = rows[:, layout.image:layout.image + layout.image_bytes]
    if layout.planar:
        images = tf.transpose(tf.reshape(images, [count, channels, height, width]), [0, 2, 3, 1])
    images = tf.reshape(images, [count, height, width, channels])
    parts = tf.cast(rows[:, layout.label:layout.label + layout.label_bytes], tf.int64)
    if layout.label_bytes == 1:
        return images, parts[:, 0]
    weights = [128 ** i for i in range(layout.label_bytes)]
    return images, tf.reduce_sum(parts % 128 * tf.constant(weights, tf.int64), 1)


def _load(dataset, split):
    """All images and labels as local variables, filled by the graph itself when it starts."""
    count = dataset.counts[split]
    images = _local('images', tf.raw_ops.Empty(shape=(count,) + tuple(dataset.image_shape),
                                               dtype=tf.uint8))
    labels = _local('labels', tf.zeros([count], tf.int64))
    done, row = [images.initializer, labels.initializer], 0
    for name in dataset.splits[split]:
        with tf.control_dependencies(done):
            # Were the name a constant, Grappler would read the file to fold it into one.
            content = tf.read_file(tf.placeholder_with_default(name, []))
        row = _fill([images, labels], row, content, dataset)
        done = [row]
    whole = tf.assert_equal(row, count, message='%s has changed' % dataset.directory)
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, tf.group(whole))  # with local variables'
    return images, labels


def _fill(variables, start, content, dataset, piece=500):
    """Puts the records of `content` into `variables` from row `start` on; the row after them.

    `piece` records at a time and in place: touching new memory is what takes the time.
    """
    size = dataset.layout.size
    stop = start + tf.strings.length(content) // size

    def put(row):
        parts = _decode(tf.strings.substr(content, (row - start) * size, piece * size), dataset)
        after = row + tf.size(parts[-1])
        with tf.control_dependencies([
                variable.scatter_update(tf.IndexedSlices(part, tf.range(row, after)))
                for variable, part in zip(variables, parts)]):
            return tf.identity(after)
    return tf.while_loop(lambda row: row < stop, put, [start], parallel_iterations=1)


def _order(count, seed, epoch):
    """The order of `count` things in an epoch: a permutation, int32 [count]."""
    keys = tf.random.stateless_uniform([count], random_seeds.seeds(seed, 'order', epoch),
                                       0, 2 ** 62, tf.int64)
    return tf.nn.top_k(keys, count).indices


def _local(name, value):
    """A variable of this process alone, set when its session starts, after any restore."""
    return tf.Variable(value, trainable=False, collections=[tf.GraphKeys.LOCAL_VARIABLES],
                       name=name, use_resource=True)


def _run(queue, enqueue):
    """One thread: it keeps the order, and makes 40,000 images/s at the least."""
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))

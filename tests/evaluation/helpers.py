"""Evaluation of a run in this process, and a frozen graph as other people's code makes them."""

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.evaluation.evaluator import Evaluator
from permafrost.training.checkpoints import finding


def evaluate(run, step=None, **options):
    """Return the metrics of one checkpoint of `run`."""
    with Evaluator(run, None, **options) as evaluator:
        return evaluator.evaluate(*finding.find_checkpoint(run, step))


def foreign_graph(image_size=24):
    """Return a GraphDef with a training queue, dropout, unfused additions and Identity nodes.

    Its nodes `inputs` and `predictions` have the names and shapes that the tutorial's graphs have.
    Next to it: a function from preprocessed images, float [N, image_size, image_size, 3], to
    logits [N, 10].
    """
    random, pooled = np.random.RandomState(3), image_size // 2
    kernel = random.randn(5, 5, 3, 8).astype(np.float32) / 8
    biases = random.randn(8).astype(np.float32)
    weights = random.randn(pooled * pooled * 8, 10).astype(np.float32) / 30

    def network(x):
        x = tf.identity(tf.nn.conv2d(x, tf.identity(tf.constant(kernel, name='conv1/weights')),
                                     [1, 1, 1, 1], 'SAME', name='conv1/Conv2D'))
        x = tf.nn.relu(tf.add(x, tf.constant(biases, name='conv1/biases'), name='conv1/add'))
        x = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], 'SAME')
        x = tf.identity(x, name='dropout/Identity')  # how TensorFlow turns dropout off
        x = tf.reshape(x, [-1, pooled * pooled * 8])
        return tf.matmul(x, tf.constant(weights, name='fc/weights'), name='fc/MatMul')

    with tf.Graph().as_default() as graph:
        shape = [image_size, image_size, 3]
        queue = tf.RandomShuffleQueue(100, 50, [tf.float32], [shape])
        batch = queue.dequeue_up_to(32)
        tf.identity(network(tf.identity(batch, name='inputs')), name='predictions')
        tf.train.add_queue_runner(tf.train.QueueRunner(queue, [queue.enqueue([tf.zeros(shape)])]))
        definition = graph.as_graph_def(add_shapes=True)  # as old versions of TensorFlow did

    def logits_of(inputs):
        with tf.Graph().as_default(), tf.Session() as session:
            return session.run(network(tf.constant(inputs)))

    return definition, logits_of


def center_crops(images, size=24):
    """Return the standardized centres of images, by NumPy; float [N, size, size, 3]."""
    first = (images.shape[1] - size) // 2
    crops = images[:, first:first + size, first:first + size].astype(np.float64)
    mean = crops.mean((1, 2, 3), keepdims=True)
    std = np.maximum(crops.std((1, 2, 3), keepdims=True), 1 / np.sqrt(crops[0].size))
    return ((crops - mean) / std).astype(np.float32)

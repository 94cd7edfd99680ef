"""Graphs as other programs write them, and what eval.py prints of images."""

import contextlib
import io

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.evaluation import evaluate

WEIGHTS = np.random.RandomState(5).randn(3, 10).astype(np.float32)
RGB = np.array([120., 110, 100])
RAW = ['--standardize=none']


def network(x):
    """Return the logits of the mean colours of the images x."""
    return tf.matmul(tf.reduce_mean(x, [1, 2]), WEIGHTS)


def floats(name='x', size=32, batch=None):
    return tf.placeholder(tf.float32, [batch, size, size, 3], name=name)


def renamed():
    tf.identity(network(floats('Input')), name='Output')


def fixed_batch():
    tf.matmul(tf.reshape(tf.reduce_mean(floats(batch=8), [1, 2]), [8, 3]), WEIGHTS, name='y')


def cropped():
    tf.identity(network(floats('inputs', 24)), name='predictions')


def without_shape():
    tf.identity(network(tf.placeholder(tf.float32, name='x')), name='y')


def bytes_of_any_size():
    pixels = tf.placeholder(tf.uint8, [None, None, None, 3], name='image_tensor')
    tf.nn.softmax(network(tf.cast(pixels, tf.float32) / 255), name='y')


def softmax_times_one():
    tf.multiply(tf.nn.softmax(network(floats())), tf.constant(1.), name='y')


def softmax_by_hand():
    powers = tf.exp(network(floats()))
    tf.divide(powers, tf.reduce_sum(powers, 1, keepdims=True), name='y')


def sigmoids():
    tf.sigmoid(network(floats()), name='y')


def four_dimensions_of_float64():
    tf.reshape(tf.cast(tf.nn.softmax(network(floats())), tf.float64), [-1, 1, 1, 10], name='y')


def index_and_log_softmax():
    logits = network(floats('inputs'))
    tf.argmax(logits, 1, name='predictions')
    tf.nn.log_softmax(logits, name='probabilities')


def switches():
    factor = tf.placeholder(tf.float32, [], name='keep_prob')
    training = tf.placeholder_with_default(False, [], name='is_training')
    tf.identity(network(floats() * factor) * (1 - 3 * tf.cast(training, tf.float32)), name='y')


def luminance():
    grey = tf.reduce_mean(tf.placeholder(tf.float32, [None, 28, 28, 1], name='x'), [1, 2])
    tf.matmul(grey, WEIGHTS[:1], name='y')


def channels_first():
    colours = tf.reduce_mean(tf.placeholder(tf.float32, [None, 3, 32, 32], name='x'), [2, 3])
    tf.matmul(colours, WEIGHTS, name='y')


def in_a_row():
    tf.identity(network(tf.reshape(tf.placeholder(tf.float32, [None, 3072], name='x'),
                                   [-1, 32, 32, 3])), name='y')


def float16():
    pixels = tf.placeholder(tf.float16, [None, 32, 32, 3], name='x')
    tf.cast(network(tf.cast(pixels, tf.float32) / 255), tf.float16, name='y')


def one_image():
    colours = tf.reduce_mean(tf.placeholder(tf.float32, [32, 32, 3], name='x'), [0, 1])
    tf.reduce_sum(colours[:, None] * WEIGHTS, 0, name='y')


def encoded():
    pixels = tf.io.decode_png(tf.placeholder(tf.string, [], name='bytes'), 3, name='decoded')
    tf.nn.softmax(network(tf.cast(pixels, tf.float32)[None] / 255), name='y')


def wide():
    tf.identity(network(tf.placeholder(tf.float32, [None, 24, 32, 3], name='x')), name='y')


def training_switches():
    keep = tf.placeholder(tf.float32, name='keep_prob')
    training = tf.placeholder(tf.bool, [], name='is_training')
    tf.identity(network(floats()) / keep * (1 - 3 * tf.cast(training, tf.float32)), name='y')


def one_column_of_two():
    tf.sigmoid(tf.matmul(tf.reduce_mean(floats() / 255, [1, 2]), WEIGHTS[:, :1]), name='y')


def two_of_each():
    both = floats('a') + floats('b')
    tf.reduce_mean(both, [1, 2], name='one')
    tf.reduce_sum(both, [1, 2], name='two')


def damaged():
    tf.identity(network(floats() * np.nan), name='y')


def one_column():
    tf.reduce_mean(floats(), [1, 2, 3], name='mean')
    tf.matmul(tf.reduce_mean(floats('inputs'), [1, 2]), WEIGHTS[:, :1], name='predictions')


def strange():
    tf.reduce_mean(tf.placeholder(tf.float32, [None, 28, 28, 7], name='x'), [1, 2], name='y')


def rectified():
    """Named as ours, but fed floats: `predictions` need not be logits."""
    tf.nn.relu(tf.reduce_mean(floats('images'), [1, 2]), name='predictions')


def maps():
    tf.nn.softmax(floats('x'), name='y')


def evaluated_images(path, images):
    """Return what eval.py --images prints."""
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        assert evaluate.classify_images(path, images, None, top=10) == 0
    return stream.getvalue()

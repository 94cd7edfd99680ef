"""Shared by the tests of the C++ program: building it, running it, small graphs and images."""

import json
import os
import subprocess
import sys

import numpy as np
import PIL.Image
import tensorflow.compat.v1 as tf

from permafrost.evaluation.frozen_graphs import graph_def
from tests.processes import ROOT

FOLDER = os.path.join(ROOT, 'label_image')
PROGRAM = os.path.join(FOLDER, 'build', 'label_image')
ENGINES = [name for name in ('tf1', 'tf1-mkl', 'tf2')
           if os.path.isdir(os.path.join(ROOT, '.venv', name))]
TUTO = os.path.join(ROOT, 'trained_models', 'tuto.pb')
SQUEEZE1 = os.path.join(ROOT, 'trained_models', 'squeeze1.pb')
PREPROCESSING = ['--crop_size=24', '--standardize=per_image']  # of TUTO
LABELS = ['red', 'green', 'blue']


def library(engine):
    return '--library=' + os.path.join(ROOT, '.venv', engine)


# The library of the engine that runs the tests.
OWN = '--library=' + sys.prefix


def execute(*arguments, **environment):
    return subprocess.run([str(a) for a in arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=570,
                          env=dict(os.environ, **environment))


def make(*arguments):
    # With a lock, because tests of another engine may build at the same time.
    process = execute('flock', FOLDER, 'make', '-C', FOLDER, *arguments)
    assert process.returncode == 0, process.stdout + process.stderr


def write_graph(path, build):
    """Write the GraphDef of the nodes that `build` creates. Return its path."""
    with tf.Graph().as_default() as graph:
        build()
    definition = graph.as_graph_def()
    for node in definition.node:
        if node.op == 'MatMul':  # 2.21 adds attributes that 1.15 does not know
            for name in ('grad_a', 'grad_b'):
                if name in node.attr:
                    del node.attr[name]
    with open(str(path), 'wb') as stream:
        stream.write(definition.SerializeToString())
    return str(path)


def mean_colour(images):
    """The network of most tests: the logits are the means of the colours, divided by 32."""
    pixels = tf.cast(images, tf.float32, name='inputs')
    logits = tf.reduce_mean(pixels, [1, 2]) / 32
    return tf.nn.softmax(tf.identity(logits, 'predictions'), name='probabilities')


def colours(size=32, labels=LABELS):
    def build():
        tf.constant(labels, name='labels')
        mean_colour(tf.placeholder(tf.uint8, [None, size, size, 3], name='images'))
    return build


def write_foreign_graph(path):
    """Write TUTO as others freeze graphs: a training queue feeds `inputs`, and there are no labels.

    Returns its path.
    """
    source = graph_def.read_graph(TUTO)
    nodes = {node.name: node for node in source.node}
    preprocessing, stack = {'labels'}, ['inputs']
    while stack:
        name = stack.pop()
        preprocessing.add(name)
        stack.extend(nodes[name].input)
    with tf.Graph().as_default() as graph:
        queue = tf.FIFOQueue(9, tf.float32, [[24, 24, 3]])
        count = tf.placeholder_with_default(8, [])
        tf.identity(queue.dequeue_many(count), name='inputs')
    definition = graph.as_graph_def(add_shapes=True)
    definition.node.extend(node for node in source.node if node.name not in preprocessing)
    with open(str(path), 'wb') as stream:
        stream.write(definition.SerializeToString())
    return str(path)


def softmax(logits):
    powers = np.exp(logits - np.max(logits, -1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def classify(program, graph, *images):
    """Return the probabilities {label: p} of each image."""
    answer = json.loads(program('--graph=' + graph, OWN, '--json', '--top=3', *images))
    assert [image['image'] for image in answer['images']] == [str(image) for image in images]
    for image in answer['images']:
        probabilities = [top['probability'] for top in image['top']]
        assert probabilities == sorted(probabilities, reverse=True)
    return [{top['label']: top['probability'] for top in image['top']}
            for image in answer['images']]


def evaluate(program, graph, batch_file, folder, *flags):
    """Return the JSON of the program for a batch file, and the probabilities [N, classes]."""
    predictions = folder / 'predictions.txt'
    answer = json.loads(program('--graph=' + graph, '--batch_file', batch_file, '--json',
                                '--predictions', predictions, *flags))
    rows = np.loadtxt(str(predictions))
    assert (rows[:, 0] == np.arange(answer['images'])).all()
    return answer, rows[:, 3:]


def expected(rgb):
    """Return the probabilities of `mean_colour` for uint8 [32, 32, 3]."""
    return dict(zip(LABELS, softmax(np.asarray(rgb, float).mean((0, 1)) / 32)))


def noise(height, width, channels=3, seed=0):
    """Return smooth colours with a little noise, which JPEG preserves."""
    rows, columns = np.mgrid[:height, :width]
    planes = [100 + 90 * np.sin(rows / 17 + c) * np.cos(columns / 23 + 2 * c) + 40 * (c - 1)
              for c in range(channels)]
    grain = np.random.RandomState(seed).randint(0, 5, (height, width, channels))
    return np.clip(np.stack(planes, 2) + grain, 0, 255).astype(np.uint8)


def write_block_graph(path):
    """Write a graph that sees one block of an image, so that a shift shows. Return its path."""
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        tf.constant(LABELS, name='labels')
        mean_colour(images[:, 3:7, 20:24])
    return write_graph(path, build)


def block(pixels):
    """Return that block of uint8 [H, W, 3], cropped and resized by Pillow."""
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = PIL.Image.fromarray(pixels[top:top + side, left:left + side])
    return np.asarray(square.resize((32, 32), PIL.Image.BILINEAR))[3:7, 20:24]

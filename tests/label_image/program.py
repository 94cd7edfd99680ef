"""What the tests of the C++ program share: building it, running it, small graphs and pictures."""

import json
import os
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow.compat.v1 as tf

from tests.processes import ROOT

PROGRAM = os.path.join(ROOT, 'label_image', 'build', 'label_image')
THIRD_PARTY = os.path.join(ROOT, '..', 'shared', 'thirdparty')
ENGINES = [name for name in ('tf1', 'tf1-mkl', 'tf2')
           if os.path.isdir(os.path.join(ROOT, '.venv', name))]
SQUEEZE1 = os.path.join(THIRD_PARTY, 'squeeze1.pb')
FED = ['--graph=' + SQUEEZE1, '--crop_size=24', '--standardize=per_image']
LABELS = ['red', 'green', 'blue']


def library(engine):
    return '--library=' + os.path.join(ROOT, '.venv', engine)


# By default the library of the engine that runs the tests.
OWN = '--library=' + sys.prefix


def execute(*arguments, **environment):
    return subprocess.run([str(a) for a in arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=570,
                          env=dict(os.environ, **environment))


def make(*arguments):
    # in turn with label_image.sh, which tests of another engine may run now
    folder = os.path.join(ROOT, 'label_image')
    done = execute('flock', folder, 'make', '-j2', '-C', folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs_third_party():
    if not os.path.isfile(SQUEEZE1):
        pytest.skip('there is no %s' % SQUEEZE1)


def write_graph(path, build):
    """Writes the GraphDef of what `build` adds to a new graph; its path."""
    with tf.Graph().as_default() as graph:
        build()
    definition = graph.as_graph_def()
    for node in definition.node:
        if node.op == 'MatMul':  # 2.21 gives it attributes that 1.15 does not know
            for name in ('grad_a', 'grad_b'):
                if name in node.attr:
                    del node.attr[name]
    with open(str(path), 'wb') as stream:
        stream.write(definition.SerializeToString())
    return str(path)


def mean_colour(images):
    """The network of these tests: logits are the means of the colours, in 1/32."""
    pixels = tf.cast(images, tf.float32, name='inputs')
    logits = tf.reduce_mean(pixels, [1, 2]) / 32
    return tf.nn.softmax(tf.identity(logits, 'predictions'), name='probabilities')


def colours(size=32, labels=LABELS):
    def build():
        tf.constant(labels, name='labels')
        mean_colour(tf.placeholder(tf.uint8, [None, size, size, 3], name='images'))
    return build


def softmax(logits):
    powers = np.exp(logits - np.max(logits, -1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def classify(program, graph, *images):
    """Probabilities {label: p} of each image."""
    answer = json.loads(program('--graph=' + graph, OWN, '--json', '--top=3', *images))
    assert [image['image'] for image in answer['images']] == [str(image) for image in images]
    for image in answer['images']:
        chances = [top['probability'] for top in image['top']]
        assert chances == sorted(chances, reverse=True)
    return [{top['label']: top['probability'] for top in image['top']}
            for image in answer['images']]


def expected(rgb):
    """What `mean_colour` should say of uint8 [32, 32, 3]."""
    return dict(zip(LABELS, softmax(np.asarray(rgb, float).mean((0, 1)) / 32)))


def noise(height, width, channels=3, seed=0):
    """Smooth colours with a little noise, so that JPEG keeps them."""
    rows, columns = np.mgrid[:height, :width]
    planes = [100 + 90 * np.sin(rows / 17 + c) * np.cos(columns / 23 + 2 * c) + 40 * (c - 1)
              for c in range(channels)]
    grain = np.random.RandomState(seed).randint(0, 5, (height, width, channels))
    return np.clip(np.stack(planes, 2) + grain, 0, 255).astype(np.uint8)


def block_graph(path):
    """Writes a graph that looks at one block of a picture, so that a shift shows; its path."""
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        tf.constant(LABELS, name='labels')
        mean_colour(images[:, 3:7, 20:24])
    return write_graph(path, build)


def block(pixels):
    """That block of the uint8 [H, W, 3] `pixels`, cropped and resized by Pillow."""
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = PIL.Image.fromarray(pixels[top:top + side, left:left + side])
    return np.asarray(square.resize((32, 32), PIL.Image.BILINEAR))[3:7, 20:24]

"""FrozenGraph: the same logits as NumPy's, whatever the layout, and no random answers."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.frozen_graph import FrozenGraph
from tests.evaluation.frozen_graphs.helpers import build

IMAGES = np.random.RandomState(5).randint(0, 256, (3, 32, 32, 3)).astype(np.uint8)


def mean_colours(placeholder, axes):
    def network():
        tf.reduce_mean(tf.cast(placeholder(), tf.float32), axes, name='y')
    return network


@pytest.mark.parametrize('network, fed', [
    (mean_colours(lambda: tf.placeholder(tf.float32, [None, 3, 32, 32], name='x'), [2, 3]),
     'x, float32 [N, 3, 32, 32]'),
    (mean_colours(lambda: tf.placeholder(tf.float16, [None, 32, 32, 3], name='x'), [1, 2]),
     'x, float16 [N, 32, 32, 3]'),
    (mean_colours(lambda: tf.placeholder(tf.float32, [32, 32, 3], name='x'), [0, 1]),
     'x, float32 [32, 32, 3]'),
    (mean_colours(lambda: tf.reshape(tf.placeholder(tf.float32, [2, 3072], name='x'),
                                     [-1, 32, 32, 3]), [1, 2]), 'x, float32 [2, 3072]'),
    (mean_colours(lambda: tf.io.decode_jpeg(tf.placeholder(tf.string, [], name='b'), 3,
                                            name='decoded')[None], [1, 2]),
     'decoded, uint8 [?, ?, 3]')])
def test_every_layout_gives_the_same_answers(network, fed):
    with tf.Graph().as_default(), tf.Session() as session:
        frozen = FrozenGraph(build(network), 'a.pb')
        answers = frozen.probabilities(session, IMAGES)
    np.testing.assert_allclose(np.log(answers) - np.log(answers[:, :1]),
                               IMAGES.mean((1, 2)) - IMAGES.mean((1, 2))[:, :1], atol=0.1)
    assert frozen.describe()[0].startswith('input: ' + fed)


def test_dropout_that_is_on_is_refused():
    def network():
        images = tf.placeholder(tf.float32, [None, 32, 32, 3], name='x')
        tf.reduce_mean(tf.nn.dropout(images, rate=0.5), [1, 2], name='y')
    with tf.Graph().as_default(), tf.Session() as session:
        with pytest.raises(UserError, match='gives a different answer on every run'):
            FrozenGraph(build(network), 'a.pb').probabilities(session, IMAGES)


def test_the_placeholders_that_it_sets_are_listed():
    def network():
        images = tf.placeholder(tf.float32, [None, 32, 32, 3], name='x')
        keep = tf.placeholder(tf.float32, [], name='keep_prob')
        training = tf.placeholder(tf.bool, [], name='is_training')
        unit = tf.placeholder_with_default(1., [], name='unit')
        factor = unit / keep - tf.cast(training, tf.float32)
        tf.multiply(tf.reduce_mean(images, [1, 2]), factor, name='y')
    with tf.Graph().as_default(), tf.Session() as session:
        frozen = FrozenGraph(build(network), 'a.pb')
        frozen.probabilities(session, IMAGES)
    assert frozen.describe()[-2:] == [
        'assumed: is_training=false, keep_prob=1 (--feed changes them)',
        'defaults of the graph: unit (--feed changes it)']

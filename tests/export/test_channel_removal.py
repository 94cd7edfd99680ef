"""Channels that are zero are removed: fewer operations, the same answers."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.datasets import registry
from permafrost.evaluation import inference_graph
from permafrost.export import channel_removal, freeze, layer_counts
from permafrost.recipes import catalog, overrides
from permafrost.training.compression import pruning
from tests.export.helpers import STATISTICS, logits_of

# Of the operations of each model, the share that is left of half of all filters, at the most. Where
# a response normalization follows, filters stay: their channels are neighbours of others.
LEFT = {**dict.fromkeys(('resnet20', 'sprint', 'squeeze1', 'xception_mini', 'davidnet_tricks',
                         'nin_bn'), .4), 'tuto': .98, 'convone': .6, 'cs231n': .61}
SLOW = ('convone', 'cs231n', 'davidnet_tricks', 'nin_bn')
IMAGES = np.random.RandomState(0).randint(0, 256, (4, 32, 32, 3)).astype(np.uint8)


def _ops(graph):
    return layer_counts.totals(layer_counts.count_layers(graph)[0])


def _pruned(name, sparsity):
    """Return the frozen graph of a model of random weights, half of whose filters are zero, and
    its logits before freezing."""
    recipe = overrides.get_recipe(catalog.default_recipe(name), [
        f'structured_sparsity={sparsity}', 'spared_layers=none'])
    config = Config(name, recipe, 1, statistics=STATISTICS.get(recipe.normalize, ()))
    random = np.random.RandomState(1)
    with tf.Graph().as_default(), tf.Session() as session:
        inference = inference_graph.build_inference_graph(
            config, registry.CIFAR10_CLASSES, registry.IMAGE_SHAPE)
        trained = pruning.create(config, 10)
        session.run(tf.global_variables_initializer())
        for variable in tf.global_variables():
            if variable.op.name.endswith(('biases', 'beta', 'moving_mean')):
                variable.load(.1 * random.randn(*variable.shape.as_list()), session)
        trained.prune(session, sparsity)
        masks = session.run(trained.masks)
        for variable in tf.global_variables():  # as evaluation does: see pruning.masked
            mask = masks.get(variable.op.name.replace('moving_mean', 'beta') + '/mask', masks.get(
                variable.op.name.replace('moving_mean', 'beta')))
            if mask is not None and not variable.op.name.endswith('/mask'):
                variable.load(session.run(variable) * mask, session)
        expected = session.run(inference.predictions, {inference.images: IMAGES})
        return freeze.freeze_session(session, registry.CIFAR10_CLASSES), expected


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in sorted(LEFT)])
def test_a_pruned_model_is_smaller_and_answers_the_same(name):
    graph, expected = _pruned(name, .5)
    small = channel_removal.remove_zero_channels(graph)
    np.testing.assert_allclose(logits_of(small, IMAGES), expected, rtol=1e-5,
                               atol=1e-5 * np.abs(expected).max())
    before, after = _ops(graph), _ops(small)
    assert after['ops'] <= LEFT[name] * before['ops'] + 1
    assert after['params'] < before['params']
    assert layer_counts.op_types(small) == layer_counts.op_types(graph)


def test_without_zeros_nothing_changes():
    recipe = overrides.get_recipe('squeeze')
    with tf.Graph().as_default(), tf.Session() as session:
        inference_graph.build_inference_graph(
            Config('squeeze1', recipe, 1, statistics=STATISTICS['per_channel']),
            registry.CIFAR10_CLASSES, registry.IMAGE_SHAPE)
        session.run(tf.global_variables_initializer())
        graph = freeze.freeze_session(session, registry.CIFAR10_CLASSES)
    assert channel_removal.remove_zero_channels(graph) == graph


def _graph(build):
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 4, 4, 3], name='inputs')
        tf.identity(build(x), name='predictions')
    return graph.as_graph_def()


def _const(*shape, zeros=(), axis=-1):
    value = np.random.RandomState(1).randn(*shape).astype(np.float32)
    np.moveaxis(value, axis, 0)[list(zeros)] = 0.
    return tf.constant(value)


def _conv(x, filters, **options):
    return tf.nn.conv2d(x, _const(1, 1, x.shape[-1], filters, **options), 1, 'SAME')


def _classes(x):
    return tf.matmul(tf.reduce_mean(x, [1, 2]), _const(x.shape[-1], 5))


def _filters(graph):
    small = channel_removal.remove_zero_channels(graph)
    x = np.random.RandomState(2).randn(2, 4, 4, 3)
    np.testing.assert_allclose(logits_of(small, x, feed='inputs'),
                               logits_of(graph, x, feed='inputs'), rtol=1e-5, atol=1e-6)
    shapes = {node.name: tf.make_ndarray(node.attr['value'].tensor).shape for node in small.node
              if node.op == 'Const'}
    return [shapes[node.input[1]][-1] for node in small.node if node.op == 'Conv2D']


def test_a_bias_keeps_a_filter_of_zeros():
    """relu(0 + 1) is not zero."""
    graph = _graph(lambda x: _classes(tf.nn.relu(
        tf.nn.bias_add(_conv(x, 4, zeros=[1, 2]), [0., 1., 0., 2.]))))
    assert _filters(graph) == [3]


def test_a_sum_keeps_a_channel_of_which_one_term_is_zero():
    graph = _graph(lambda x: _classes(_conv(x, 4, zeros=[0, 1]) + _conv(x, 4, zeros=[1, 2])))
    assert _filters(graph) == [3, 3]


def test_what_reads_only_zeros_is_zero_too():
    graph = _graph(lambda x: _classes(_conv(
        _conv(x, 4, zeros=[1]), 3, zeros=[0, 2, 3], axis=2) + 1.))
    assert _filters(graph) == [1, 3]  # one filter is left to read, and + 1 keeps what it makes


def test_each_layer_keeps_a_filter():
    graph = _graph(lambda x: _classes(tf.nn.relu(_conv(x, 4, zeros=range(4)))))
    assert _filters(graph) == [1]


def test_a_product_with_the_sigmoid_of_a_zero_is_zero():
    def build(x):
        x = _conv(x, 4, zeros=[3])
        return _classes(x * tf.sigmoid(x))
    assert _filters(_graph(build)) == [3]


def test_flattened_positions_are_removed():
    def build(x):
        x = _conv(x, 4, zeros=[0, 2])
        return tf.matmul(tf.reshape(x, [-1, 64]), _const(64, 5))
    assert _filters(_graph(build)) == [2]

"""Where the variables begin, and which of them are not trained."""

import dataclasses

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from permafrost.config import Config
from permafrost.errors import UsageError, UserError
from permafrost.recipes import overrides
from permafrost.training import initialization
from permafrost.training.graph import build, build_train_graph
from permafrost.training.initialization import TrainedWeights
from permafrost.training.optimization.weight_averaging import NAME
from permafrost.training.strategy import SINGLE_PROCESS
from tests import networks

CLASSES = tuple('abcdefghij')


def config(model='normed', changes=(), **fields):
    recipe = overrides.get_recipe('tutorial', ['batch_size=8', 'normalize=per_image', *changes])
    return Config(model, recipe, 100, train_images=32, **fields)


@pytest.fixture(autouse=True)
def registered():
    with networks.registered():
        yield


def graph_of(settings, classes=10, initial=None):
    size = settings.recipe.image_size
    images = tf.random.stateless_normal([8, size, size, 3], [1, 2])
    labels = tf.range(8, dtype=tf.int64) % classes
    return build_train_graph(settings, classes, images, labels, initial=initial)


def variables():
    return {v.op.name: v for v in tf.global_variables() if v.op.name != 'global_step'}


def weights(settings, classes=CLASSES, source_classes=CLASSES, **values):
    """Return TrainedWeights of random numbers that fit the model of `settings`."""
    with tf.Graph().as_default():
        graph_of(settings, len(source_classes))
        shapes = {name: v.shape.as_list() for name, v in variables().items()}
    generator = np.random.RandomState(0)
    return TrainedWeights('there', {**{
        name: generator.uniform(0.5, 1., shape).astype(np.float32)
        for name, shape in shapes.items() if NAME not in name}, **values}, source_classes)


def test_all_layers_are_taken_and_their_averages_begin_there(default_graph, capsys):
    settings = config()
    trained = weights(settings)
    taken = initialization.choose(trained, settings, CLASSES)
    assert capsys.readouterr().out == 'initial weights from there: conv1, conv2, conv3\n'
    graph_of(settings, initial=taken)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for name, value in session.run(variables()).items():
            if 'Momentum' not in name:
                np.testing.assert_array_equal(value, trained.values[name.replace('/' + NAME, '')])


@pytest.mark.parametrize('classes', [tuple('abcd'), tuple('jihgfedcba')])
def test_the_last_layer_starts_anew_if_the_classes_are_others(default_graph, classes, capsys):
    settings = config()
    taken = initialization.choose(weights(settings), settings, classes)
    assert capsys.readouterr().out == (
        'initial weights from there: conv1, conv2; new, for other classes: conv3\n')
    graph_of(settings, len(classes), taken)
    untouched = tf.Graph()
    with untouched.as_default():
        graph_of(settings, len(classes))
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            anew = session.run(variables())
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = session.run(variables())
    assert {name for name in values if not np.array_equal(values[name], anew[name])} == {
        name for name in values if name.replace('/' + NAME, '') in taken}
    assert 'conv3/weights' in values and 'conv3/weights' not in taken


def test_the_shapes_tell_where_the_classes_are_not_named():
    settings = config()
    trained = weights(settings)._replace(classes=())
    assert 'conv3/weights' in initialization.choose(trained, settings, CLASSES)
    assert 'conv3/weights' not in initialization.choose(trained, settings, CLASSES[:4])


@pytest.mark.parametrize('change, message', [
    ({'conv2/weights': np.zeros([3, 3, 7, 24])}, r'conv2/weights has shape \[3, 3, 7, 24\]'),
    ({'conv1/bn/moving_mean': np.zeros([])}, r'conv1/bn/moving_mean has shape \[\], expected'),
    (None, 'conv1/weights is missing, expected shape')])
def test_weights_of_another_model_are_refused(change, message):
    settings = config()
    trained = weights(settings)
    trained = trained._replace(values={} if change is None else {**trained.values, **change})
    with pytest.raises(UserError, match='there does not fit normed at 24x24: ' + message):
        initialization.choose(trained, settings, CLASSES)


def test_an_error_of_a_new_model_is_not_blamed_on_its_images(synthetic, monkeypatch):
    def build_wrongly(net, x):
        return net.fc('logits', x, 10, activation='swish')

    monkeypatch.setitem(models.MODELS, 'mine', build_wrongly)
    settings = dataclasses.replace(config('lenet5'), model='mine', dataset='synthetic')
    with pytest.raises(ValueError, match='swish'):
        build(settings, synthetic, SINGLE_PROCESS)


def test_images_that_are_too_small_for_the_model_are_refused(synthetic):
    settings = dataclasses.replace(config('lenet5', ['image_size=8']), dataset='synthetic')
    with pytest.raises(UserError, match=(
            'lenet5 cannot be built for images of 8x8 .*: use --image_size=32, and images of')):
        build(settings, synthetic, SINGLE_PROCESS, trained=TrainedWeights('there', {}, CLASSES))


@pytest.mark.parametrize('changes', [
    [], ['optimizer=muon', 'weight_decay=0.1', 'layer_weight_decay=0'],
    ['decoupled_weight_decay=0.1', 'layer_weight_decay=0', 'ema_every=2', 'ema_decay=0.5']])
def test_frozen_variables_and_their_averages_do_not_change(default_graph, changes):
    graph = graph_of(config(changes=changes, freeze='conv[12]'))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run(variables())
        for _ in range(4):
            session.run(graph.train)
        after = session.run(variables())
    changed = {name for name in after if not np.array_equal(before[name], after[name])}
    assert {'conv3/weights', 'conv3/biases', f'conv3/weights/{NAME}'} <= changed
    assert all(name.startswith('conv3/') for name in changed)


def test_the_frozen_first_layers_normalize_with_their_moving_statistics(default_graph):
    """The batch has another mean than the moving one, so the outputs differ."""
    losses = {}
    for freeze in (None, 'weights', 'conv1'):
        with tf.Graph().as_default():
            graph = graph_of(config(changes=['ema_decay=0'], freeze=freeze))
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                losses[freeze] = session.run(graph.scalars['loss'])
                before = session.run(variables())
                session.run(graph.train)
                after = session.run(variables())
        moved = not np.array_equal(before['conv1/bn/moving_mean'], after['conv1/bn/moving_mean'])
        assert moved == (freeze != 'conv1')
    assert losses[None] == losses['weights'] != losses['conv1']


def test_the_decay_of_frozen_weights_is_not_in_the_loss(default_graph):
    changes = ['layer_weight_decay=0', 'weight_decay=0.1']
    graph = graph_of(config(changes=changes, freeze='conv[12]'))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        decay, values = session.run([graph.scalars['weight_decay'], variables()])
    assert decay == pytest.approx(0.05 * sum(
        np.sum(values[name].astype(float) ** 2) for name in ('conv3/weights', 'conv3/biases')))


@pytest.mark.parametrize('pattern, what', [('conv9', 'none'), ('', 'all'), ('conv', 'all')])
def test_a_pattern_that_leaves_nothing_to_do_is_refused(default_graph, pattern, what):
    with pytest.raises(UsageError, match=f'matches {what} of the variables .*: conv1/weights, '):
        graph_of(config(freeze=pattern))


def test_statistics_stay_only_where_muon_does_not_scale_the_weights_before_them(default_graph):
    muon = {'changes': ['optimizer=muon']}
    with pytest.raises(UsageError, match='keeps the statistics conv1/.*muon scales conv1/weights'):
        graph_of(config(freeze='bn|moving', **muon))
    for settings in (config(freeze='conv1', **muon), config(freeze='beta', **muon),
                     config(freeze='bn|moving', changes=['optimizer=muon_unscaled']),
                     config(freeze='moving_', changes=['optimizer=nesterov'])):
        with tf.Graph().as_default():
            graph_of(settings)


def test_statistics_of_filters_that_may_be_pruned_are_not_frozen(default_graph):
    for name in ('conv1/weights', 'conv1/bn/beta'):
        tf.get_variable(name, [1])
    tf.get_variable('conv1/bn/moving_mean', [1], trainable=False)
    pruning = {'changes': ['structured_sparsity=0.5']}
    with pytest.raises(UsageError, match='keeps the statistics conv1/.* prune: freeze its beta'):
        initialization.check_freeze(config(freeze='moving_', **pruning), tf.trainable_variables())
    initialization.check_freeze(config(freeze='bn', **pruning), tf.trainable_variables())


@pytest.mark.parametrize('value', ['(', 'a' * 201, '(a+)+', 5])
def test_a_pattern_of_a_file_is_checked(value):
    settings = dict(config('tuto').to_json(), freeze=value)
    with pytest.raises(UsageError, match='freeze must be'):
        Config.from_json(settings)
    good = dataclasses.replace(config('tuto'), freeze='conv|fc', init_from='a')
    assert Config.from_json(good.to_json()) == good

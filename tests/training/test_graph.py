"""The training graph, against NumPy."""

import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import engines
from permafrost.config import Config
from permafrost.errors import UserError
from permafrost.recipes import overrides
from permafrost.training.graph import build_train_graph
from tests.processes import ROOT
from tests.training.helpers import train_graph


def test_weight_decay_and_averages_are_as_published(default_graph):
    """Decay is 500 / size * sum(v^2) / 2 on fc1 and fc2; that of averages (1 + n) / (10 + n)."""
    graph = train_graph('tutorial', model='tuto')
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        variables = {v.op.name: v for v in tf.global_variables()}
        suffix = '/ExponentialMovingAverage'
        for step in range(3):
            before = session.run(variables)
            decay, loss, cross_entropy = session.run([
                graph.scalars['weight_decay'], graph.scalars['loss'],
                graph.scalars['cross_entropy']])
            expected = sum(500. / before[n].size * np.sum(before[n].astype(float) ** 2) / 2
                           for n in ('fc1/weights', 'fc2/weights'))
            np.testing.assert_allclose(decay, expected, rtol=1e-5)
            np.testing.assert_allclose(loss, decay + cross_entropy, rtol=1e-6)
            _, step_after = session.run([graph.train, graph.step])
            assert step_after == step + 1
            after = session.run(variables)
            ema_decay = min(0.9999, (1. + step_after) / (10. + step_after))
            averages = [name for name in variables if name.endswith(suffix)]
            assert averages
            for name in averages:
                weight = after[name[:-len(suffix)]]
                average = ema_decay * before[name] + (1 - ema_decay) * weight
                np.testing.assert_allclose(after[name], average, rtol=1e-4, atol=1e-6)


def test_plain_sgd_makes_the_published_update(default_graph):
    graph = train_graph('tutorial', model='tuto')
    bias, = [v for v in tf.trainable_variables() if v.op.name == 'logits/biases']
    gradient = tf.gradients(graph.scalars['loss'], bias)[0]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before, slope = session.run([bias, gradient])
        session.run(graph.train)
        np.testing.assert_allclose(session.run(bias), before - 0.1 * slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('model, recipe', [('tuto', 'tutorial'), ('cs231n', 'plain')])
def test_layers_decay_as_in_the_earlier_version(model, recipe, default_graph):
    """The gradient of the decay is the variable times the decay that commit 8a47497 gave it."""
    with open(os.path.join(ROOT, 'tests', 'fixtures', 'v1', 'recipes.json')) as stream:
        earlier = json.load(stream)[recipe]
    assert earlier['model'] == model
    graph = train_graph(recipe, model=model)
    variables = {v.op.name: v for v in tf.trainable_variables()}
    assert set(variables) == set(earlier['variables'])
    gradients = dict(zip(variables, tf.gradients(
        graph.scalars['weight_decay'], list(variables.values()))))
    decayed = [name for name, settings in earlier['variables'].items() if settings['wd']]
    assert {name for name, gradient in gradients.items() if gradient is not None} == set(decayed)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values, slopes = session.run([{name: tensors[name] for name in decayed}
                                      for tensors in (variables, gradients)])
    for name in decayed:
        np.testing.assert_allclose(
            slopes[name], earlier['variables'][name]['wd'] * values[name], rtol=1e-6)


@pytest.mark.parametrize('field', ['weight_decay', 'decoupled_weight_decay'])
def test_each_variable_has_the_settings_of_its_group(field, default_graph):
    """Against NumPy: learning rates and decays of each variable; four steps are an epoch."""
    graph = train_graph('lenet5', [
        'optimizer=sgd', 'learning_rate=0.01', 'schedule=constant', 'weight_decay=0',
        f'{field}=0.1',
        f'param_groups=biases learning_rate=0.04 {field}=0,fc1/weights freeze_epoch=0.5'])
    variables = tf.trainable_variables()
    gradients = tf.gradients(graph.scalars['cross_entropy'], variables)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for step in range(4):
            before, slopes, decay = session.run([
                {v.op.name: v for v in variables},
                {v.op.name: g for v, g in zip(variables, gradients)},
                graph.scalars['weight_decay']])
            session.run(graph.train)
            after = session.run({v.op.name: v for v in variables})
            l2 = 0.
            for name, value in before.items():
                group_decay = 0. if 'biases' in name else 0.1
                rate = 0.04 if 'biases' in name else 0.01
                if name == 'fc1/weights' and step >= 2:
                    rate = 0.
                l2 += group_decay * np.sum(value.astype(float) ** 2) / 2
                expected = value - rate * (slopes[name] + group_decay * value)
                np.testing.assert_allclose(after[name], expected, rtol=1e-4, atol=1e-6)
            assert decay == pytest.approx(l2 if field == 'weight_decay' else 0., rel=1e-4)
        assert session.run(graph.scalars['learning_rate']) == pytest.approx(0.01)
        # With decoupled decay the weights are read when the gradients have been computed.
        late_reads = [op.name for op in session.graph.get_operations()
                      if op.type == 'ReadVariableOp' and '/mul' in op.name and any(
                          'gradients/' in control.name for control in op.control_inputs)]
        weights = sum('biases' not in name for name in before)
        assert len(late_reads) == (weights if field == 'decoupled_weight_decay' else 0)


def test_label_smoothing_spreads_a_share_of_the_label(default_graph):
    graph = train_graph('lenet5', ['label_smoothing=0.2'])
    logits = tf.get_default_graph().get_tensor_by_name('logits/BiasAdd:0')
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        scalars, values = session.run([graph.scalars, logits])
    log_probs = np.log(np.exp(values) / np.exp(values).sum(1, keepdims=True))
    plain = log_probs[np.arange(8), np.arange(8)]
    assert scalars['accuracy'] == (values.argmax(1) == np.arange(8)).mean()
    expected = -(0.8 * plain + 0.2 * log_probs.mean(1)).mean()
    assert scalars['loss'] - scalars['weight_decay'] == pytest.approx(expected, rel=1e-5)
    assert scalars['cross_entropy'] == pytest.approx(-plain.mean(), rel=1e-5)  # as in evaluations


@pytest.mark.parametrize('engine', ['tf1', 'tf1-mkl', 'tf2'])
def test_outputs_that_the_pool_drops_are_computed_by_tf1_mkl_alone(
        engine, default_graph, monkeypatch):
    monkeypatch.setattr(engines, 'installed', lambda: engine)
    train_graph('sprint', ['compute_dtype=float32'], 'sprint')
    convolution = tf.get_default_graph().get_operation_by_name('group1/conv1/Conv2D')
    side = 31 if engine == 'tf1-mkl' else 30
    assert convolution.outputs[0].shape.as_list() == [8, side, side, 64]


def test_images_that_are_too_small_are_one_line_with_the_size_to_use(default_graph):
    recipe = overrides.get_recipe('sprint', ['compute_dtype=float32'])
    with pytest.raises(UserError, match='images of 8x8 .*image_size=32') as error:
        build_train_graph(Config('sprint', recipe, 1), 10, tf.zeros([4, 8, 8, 3]),
                          tf.zeros([4], tf.int64))
    assert '\n' not in str(error.value)


def test_a_model_that_needs_one_image_size_says_so(default_graph):
    with pytest.raises(UserError) as error:
        train_graph('tutorial', ['progressive_resizing=crop 0:16 0.5:24'], model='tuto')
    assert str(error.value) == 'tuto needs one image size: leave --progressive_resizing out'


@pytest.mark.parametrize('recipe, model, changes, has_note', [
    ('lenet5', 'lenet5', ['weight_decay=0', 'layer_weight_decay=9'], True),
    ('tutorial', 'lenet5', ['layer_weight_decay=9'], True),
    ('tutorial', 'lenet5', [], False),  # as in the catalog, for other models
    ('tutorial', 'tuto', ['layer_weight_decay=9'], False)])
def test_a_layer_weight_decay_without_a_layer_is_noted(recipe, model, changes, has_note,
                                                       default_graph, capsys):
    train_graph(recipe, changes, model=model)
    note = f'note: layer_weight_decay has no effect: {model} trains none of the layers '
    note += 'that it applies to\n'
    assert capsys.readouterr().out.count(note) == has_note

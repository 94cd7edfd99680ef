"""Optimizers, rules and averages against NumPy, step by step."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.errors import UsageError, UserError
from permafrost.recipes import overrides, param_groups
from permafrost.training import graph, optimizers, weight_averaging

tf.disable_v2_behavior()
tf.enable_resource_variables()

RATE, DECAY, MOMENTUM = 0.1, 0.02, 0.8
SHAPES = (3, 3, 4, 6), (1, 1, 4, 16)


def slow_orthogonal(matrix):
    """Muon's iteration on [in, out] with the square matrix on the left."""
    x = matrix / (np.linalg.norm(matrix) + 1e-7)
    for _ in range(3):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def slow(name, w, gradients):
    """The values of a variable, `w` at first, after each of `gradients`."""
    m, v, found, shape = 0., 0., [], w.shape
    for t, g in enumerate(gradients, 1):
        w = w * (1 - RATE * DECAY)
        if name == 'sgd':
            w = w - RATE * g
        elif name in ('momentum', 'nesterov'):
            m = MOMENTUM * m + g
            w = w - RATE * (g + MOMENTUM * m if name == 'nesterov' else m)
        elif name == 'adam':
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g ** 2
            w = w - RATE * (m / (1 - 0.9 ** t)) / (np.sqrt(v / (1 - 0.999 ** t)) + 1e-8)
        elif name == 'muon':
            m = 0.6 * m + g
            update = slow_orthogonal((g + 0.6 * m).reshape(-1, shape[-1])).reshape(shape)
            w = w * np.sqrt(shape[-1]) / np.linalg.norm(w) - RATE * update
        elif name == 'muon_unscaled':
            m = MOMENTUM * m + g
            update = slow_orthogonal((g + MOMENTUM * m).reshape(-1, shape[-1])).reshape(shape)
            w = w - RATE * np.sqrt(max(1, shape[-1] / np.prod(shape[:-1]))) * update
        found.append(w)
    return found


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('name', sorted(optimizers.OPTIMIZERS))
def test_updates(name, shape):
    first, *gradients = np.random.RandomState(0).randn(6, *shape)
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.train.get_or_create_global_step()
        gradient = tf.placeholder(tf.float32, shape)
        w = tf.get_variable('w', initializer=first.astype(np.float32))
        rates = []
        optimizer = optimizers.optimizer(
            name, lambda variable: rates.append(variable) or tf.constant(RATE),
            lambda variable: DECAY, MOMENTUM, step)
        update = optimizer.apply_gradients([(gradient, w)], global_step=step)
        session.run(tf.global_variables_initializer())
        found = []
        for value in gradients:
            session.run(update, {gradient: value})
            found.append(session.run(w))
        assert rates == [w] and session.run(step) == len(gradients)
    # NumPy has epsilon within Adam's corrected root, TensorFlow outside.
    np.testing.assert_allclose(found, slow(name, first, gradients), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize('muon', ['muon', 'muon_unscaled'])
def test_muon_takes_the_weights_of_convolutions_alone(muon):
    shapes, found = {
        'conv': (3, 3, 2, 4), 'depthwise': (3, 3, 2, 1), 'beta': (4,), 'fc': (5, 3)}, {}
    for name in (muon, 'nesterov'):
        with tf.Graph().as_default(), tf.Session() as session:
            step = tf.train.get_or_create_global_step()
            variables = [tf.get_variable(n, shape, initializer=tf.ones_initializer())
                         for n, shape in sorted(shapes.items())]
            optimizer = optimizers.optimizer(name, lambda v: tf.constant(RATE), lambda v: 0.,
                                             MOMENTUM, step)
            update = optimizer.apply_gradients([(tf.ones_like(v), v) for v in variables])
            session.run(tf.global_variables_initializer())
            session.run(update)
            found[name] = session.run(variables)
    same = [np.allclose(a, b) for a, b in zip(found[muon], found['nesterov'])]
    assert dict(zip(sorted(shapes), same)) == {
        'beta': True, 'conv': False, 'depthwise': True, 'fc': True}


@pytest.mark.parametrize('shape', [(40, 8), (8, 40), (8, 8)])
def test_orthogonal_makes_singular_values_alike(shape):
    matrix = np.random.RandomState(2).randn(*shape).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        found = session.run(optimizers.orthogonal(tf.constant(matrix)))
    np.testing.assert_allclose(found, slow_orthogonal(matrix), atol=1e-4)
    before, after = (np.linalg.svd(m, compute_uv=False) for m in (matrix, found))
    assert after.max() / after.min() < before.max() / before.min()


# Rules


def test_the_last_rule_that_fits_counts():
    value = overrides.get_recipe('davidnet_tricks', ['rules=beta rate=64 decay=1/64,conv2/bn until=3'])
    assert param_groups.param_group_for(value, 'prep/bn/beta') == (64, 1 / 64, float('inf'))
    assert param_groups.param_group_for(value, 'conv2/bn/beta') == (1, 1, 3)
    assert param_groups.param_group_for(value, 'fc/weights') == param_groups.ParamGroup()


@pytest.mark.parametrize('rule', ['beta rate', 'beta speed=3', 'beta rate=fast', '(beta rate=1',
                                  'beta rate=1/0'])
def test_rules_that_are_none(rule):
    with pytest.raises(UsageError, match='is not understood'):
        overrides.get_recipe('plain', ['rules=' + rule])


def _graph(changes, model='lenet5', **fields):
    recipe = overrides.get_recipe('lenet5', ['batch_size=8'] + list(changes))
    images = tf.random.stateless_normal([8, 32, 32, 3], [1, 2])
    settings = Config(model, recipe, 100, train_images=32, **fields)
    return graph.build_train_graph(settings, 10, images, tf.range(8, dtype=tf.int64))


@pytest.mark.parametrize('mode', ['coupled', 'decoupled'])
def test_a_step_with_rules_and_decay(mode):
    """Against NumPy: rates and decays of each variable; four steps are an epoch."""
    changes = ['optimizer=sgd', 'learning_rate=0.01', 'schedule=constant', 'decay_mode=' + mode,
               'weight_decay=0.1', 'rules=biases rate=4 decay=0,fc1/weights until=0.5']
    with tf.Graph().as_default(), tf.Session() as session:
        graph = _graph(changes)
        variables = tf.trainable_variables()
        gradients = tf.gradients(graph.scalars['cross_entropy'], variables)
        session.run(tf.global_variables_initializer())
        for step in range(4):
            before, slopes, decay = session.run([
                {v.op.name: v for v in variables},
                {v.op.name: g for v, g in zip(variables, gradients)},
                graph.scalars['weight_decay']])
            session.run(graph.train)
            after = session.run({v.op.name: v for v in variables})
            squares = 0.
            for name, value in before.items():
                by = 0. if 'biases' in name else 0.1
                rate = 0.04 if 'biases' in name else 0.01
                if name == 'fc1/weights' and step >= 2:
                    rate = 0.
                squares += by * np.sum(value.astype(float) ** 2) / 2
                np.testing.assert_allclose(
                    after[name], value - rate * (slopes[name] + by * value), rtol=1e-4, atol=1e-6)
            weights = sum('biases' not in name for name in before)
            assert decay == pytest.approx(squares if mode == 'coupled' else 0., rel=1e-4)
        # Decoupled, the weights are decayed when there are gradients: when they have been used.
        late = [op.name for op in session.graph.get_operations()
                if op.type == 'ReadVariableOp' and '/mul' in op.name and any(
                    'gradients/' in before.name for before in op.control_inputs)]
        assert len(late) == (weights if mode == 'decoupled' else 0), late


def test_label_smoothing():
    with tf.Graph().as_default(), tf.Session() as session:
        graph = _graph(['label_smoothing=0.2'])
        logits = tf.get_default_graph().get_tensor_by_name('logits/BiasAdd:0')
        session.run(tf.global_variables_initializer())
        found, values = session.run([graph.scalars['cross_entropy'], logits])
    chances = np.log(np.exp(values) / np.exp(values).sum(1, keepdims=True))
    expected = -(0.8 * chances[np.arange(8), np.arange(8)] + 0.2 * chances.mean(1)).mean()
    assert found == pytest.approx(expected, rel=1e-5)


def test_unknown_modes_are_refused():
    with tf.Graph().as_default(), pytest.raises(UsageError, match='did you mean coupled'):
        _graph(['decay_mode=couple'])
    with tf.Graph().as_default(), pytest.raises(UserError, match='image_size=32'):
        recipe = overrides.get_recipe('sprint', ['precision=float32'])
        graph.build_train_graph(Config('sprint', recipe, 1), 10, tf.zeros([4, 8, 8, 3]),
                                tf.zeros([4], tf.int64))


# Averages


@pytest.mark.parametrize('last, first, count', [(2, 12, 4), (0, 2, 9)])
def test_averages_every_other_step(last, first, count):
    """Of the last 2 of 5 epochs of 4 steps, or of all: means at first, then a decay."""
    changes = ['epochs=5', 'average_decay=0.6', 'average_every=2', 'average_epochs=%d' % last,
               'schedule=constant']
    with tf.Graph().as_default(), tf.Session() as session:
        graph = _graph(changes)
        variable = [v for v in tf.trainable_variables() if v.op.name == 'fc1/weights'][0]
        average = [v for v in tf.global_variables()
                   if v.op.name == 'fc1/weights/' + weight_averaging.NAME][0]
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(*session.run([variable, average]))
        expected, number = None, 0
        for step in range(1, 21):
            session.run(graph.train)
            now, found = session.run([variable, average])
            if step <= first:
                expected = now
            elif step % 2 == 0:
                number += 1
                share = max(1 - 0.6 ** 2, 1 / (number + 1))
                expected = expected * (1 - share) + now * share
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert number == count and (found != now).any()

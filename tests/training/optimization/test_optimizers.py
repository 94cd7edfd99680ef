"""Optimizers against NumPy, step by step."""

import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError
from permafrost.recipes.param_groups import ParamGroup
from permafrost.recipes.recipe import Recipe
from permafrost.training.optimization import optimizers
from tests.environment import needs_bfloat16
from tests.training.helpers import train_graph

RATE, DECAY, MOMENTUM = 0.1, 0.02, 0.8
SHAPES = (3, 3, 4, 6), (1, 1, 4, 16)


def slow_orthogonalize(matrix):
    """Return Muon's iteration on [in, out], with the square matrix on the left."""
    x = matrix / (np.linalg.norm(matrix) + 1e-7)
    for _ in range(3):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def slow_updates(name, w, gradients):
    """Return the values of a variable, `w` at first, after each of `gradients`."""
    m, v, values, shape = 0., 0., [], w.shape
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
            update = slow_orthogonalize((g + 0.6 * m).reshape(-1, shape[-1])).reshape(shape)
            w = w * np.sqrt(shape[-1]) / np.linalg.norm(w) - RATE * update
        elif name == 'muon_unscaled':
            m = MOMENTUM * m + g
            update = slow_orthogonalize((g + MOMENTUM * m).reshape(-1, shape[-1])).reshape(shape)
            w = w - RATE * np.sqrt(max(1, shape[-1] / np.prod(shape[:-1]))) * update
        values.append(w)
    return values


def create(name, step, decay=0.):
    recipe = Recipe('test', optimizer=name, learning_rate=RATE, momentum=MOMENTUM,
                    decoupled_weight_decay=decay)
    return optimizers.create(recipe, tf.constant(1., tf.float64), tf.constant(0., tf.float64), step)


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('name', sorted(optimizers.OPTIMIZERS))
def test_updates_are_those_of_numpy(name, shape):
    first, *gradients = np.random.RandomState(0).randn(6, *shape)
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.train.get_or_create_global_step()
        gradient = tf.placeholder(tf.float32, shape)
        w = tf.get_variable('w', initializer=first.astype(np.float32))
        update = create(name, step, DECAY).apply_gradients([(gradient, w)], global_step=step)
        session.run(tf.global_variables_initializer())
        values = []
        for value in gradients:
            session.run(update, {gradient: value})
            values.append(session.run(w))
        assert session.run(step) == len(gradients)
    # NumPy has epsilon within Adam's corrected root, TensorFlow outside.
    np.testing.assert_allclose(values, slow_updates(name, first, gradients), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize('muon', ['muon', 'muon_unscaled'])
def test_muon_is_for_the_weights_of_convolutions_alone(muon):
    shapes = {'conv': (3, 3, 2, 4), 'depthwise': (3, 3, 2, 1), 'beta': (4,), 'fc': (5, 3)}
    values = {}
    for name in (muon, 'nesterov'):
        with tf.Graph().as_default(), tf.Session() as session:
            step = tf.train.get_or_create_global_step()
            variables = [tf.get_variable(n, shape, initializer=tf.ones_initializer())
                         for n, shape in sorted(shapes.items())]
            update = create(name, step).apply_gradients([(tf.ones_like(v), v) for v in variables])
            session.run(tf.global_variables_initializer())
            session.run(update)
            values[name] = session.run(variables)
    same = [np.allclose(a, b) for a, b in zip(values[muon], values['nesterov'])]
    assert dict(zip(sorted(shapes), same)) == {
        'beta': True, 'conv': False, 'depthwise': True, 'fc': True}


@pytest.mark.parametrize('muon', ['muon', 'muon_unscaled'])
def test_muon_keeps_what_other_workers_add_while_a_gradient_is_computed(muon):
    """An asynchronous cluster: weights or momentum that were read before would undo that."""
    first, gradient = np.random.RandomState(0).randn(2, 3, 3, 4, 6).astype(np.float32)

    def updated(late):
        with tf.Graph().as_default(), tf.Session() as session:
            step = tf.train.get_or_create_global_step()
            w = tf.get_variable('w', initializer=first)
            optimizer = create(muon, step)
            optimizer._create_slots([w])
            slot = optimizer.get_slot(w, 'momentum')
            wait = tf.py_func(lambda: time.sleep(.5 * late), [], [])  # what may be read early, is
            with tf.control_dependencies([wait]):
                added = [w.assign_add(tf.ones(w.shape)), slot.assign_add(2. * tf.ones(w.shape))]
            with tf.control_dependencies(added if late else []):
                computed = tf.constant(gradient) + 0.
            update = optimizer.apply_gradients([(computed, w)])
            session.run(tf.global_variables_initializer())
            if not late:
                session.run(added)
            session.run(update)
            return session.run([w, slot])

    for value, expected in zip(updated(late=True), updated(late=False)):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('shape', [(40, 8), (8, 40), (8, 8)])
def test_orthogonalize_makes_singular_values_alike(shape):
    matrix = np.random.RandomState(2).randn(*shape).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        result = session.run(optimizers.orthogonalize(tf.constant(matrix)))
    np.testing.assert_allclose(result, slow_orthogonalize(matrix), atol=1e-4)
    before, after = (np.linalg.svd(m, compute_uv=False) for m in (matrix, result))
    assert after.max() / after.min() < before.max() / before.min()


@pytest.mark.parametrize('groups', ['conv freeze_epoch=0.5', 'conv1 freeze_epoch=0.5,'
                                    'conv2/biases freeze_epoch=1,conv2 freeze_epoch=1.25'])
def test_frozen_variables_have_no_backward_pass(groups, default_graph):
    """Which operations compute gradients at each step; four steps are an epoch."""
    changes = ['optimizer=nesterov', f'param_groups={groups}']
    graph = train_graph('lenet5', changes)
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    gradients = []
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(6):
            trace = tf.RunMetadata()
            session.run(graph.train, options=options, run_metadata=trace)
            names = [node.node_name for device in trace.step_stats.dev_stats
                     for node in device.node_stats if 'gradients' in node.node_name]
            gradients.append({layer: any(f'/{layer}/Conv2D_grad' in name and 'Filter' in name
                                         for name in names)
                              for layer in ('conv1', 'conv2')})
    ends = {'conv1': 2, 'conv2': 2 if groups.startswith('conv ') else 5}
    assert gradients == [{layer: step < end for layer, end in ends.items()} for step in range(6)]


@pytest.mark.parametrize('optimizer', sorted(optimizers.OPTIMIZERS))
def test_a_frozen_variable_keeps_its_value(optimizer):
    """Muon scales convolutions, whatever the learning rate is; here the norm is not sqrt(6)."""
    first = np.random.RandomState(0).randn(3, 3, 4, 6).astype(np.float32)
    recipe = Recipe('test', optimizer=optimizer, learning_rate=RATE, decoupled_weight_decay=DECAY,
                    param_groups=(ParamGroup('w', freeze_epoch=2.),))
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.train.get_or_create_global_step()
        w = tf.get_variable('w', initializer=first)
        optimizer = optimizers.create(recipe, tf.constant(1., tf.float64),
                                      tf.cast(step, tf.float64), step)
        update = optimizer.apply_gradients([(w / 3, w)], global_step=step)
        session.run(tf.global_variables_initializer())
        values = []
        for _ in range(4):
            session.run(update)
            values.append(session.run(w))
        assert not np.array_equal(values[0], first) and not np.array_equal(*values[:2])
        np.testing.assert_array_equal(values[2], values[1])
        w.load(first, session)
        session.run(update)
        np.testing.assert_array_equal(session.run(w), first)


@pytest.mark.parametrize('name, groups, noted', [
    ('test', ['betaa', 'w$'], ['betaa']), ('tutorial', ['softmax_linear', 'no'], ['no'])])
def test_a_group_that_matches_no_variable_is_noted(name, groups, noted, capsys, monkeypatch):
    monkeypatch.setitem(optimizers.catalog.RECIPES, 'tutorial', Recipe(
        'tutorial', param_groups=(ParamGroup('softmax_linear', weight_decay=0.),)))
    recipe = Recipe(name, param_groups=tuple(ParamGroup(group, 5.) for group in groups))
    with tf.Graph().as_default():
        tf.get_variable('w', [1])
        step = tf.train.get_or_create_global_step()
        optimizers.create(recipe, tf.constant(1., tf.float64), tf.constant(0., tf.float64), step)
    assert capsys.readouterr().out.splitlines() == [
        f"note: the parameter group '{group} learning_rate=5' has no effect: no variable matches it"
        for group in noted]


@pytest.mark.parametrize('optimizer, shrunk', [
    ('sgd', 'w by 10%'), ('nesterov', 'v, w by 40%'), ('adam', None), ('muon', 'v by 40%')])
def test_a_weight_decay_that_makes_variables_zero_is_noted(capsys, optimizer, shrunk):
    recipe = Recipe('test', optimizer=optimizer, weight_decay=1.,
                    param_groups=(ParamGroup('v', weight_decay=.4),))
    with tf.Graph().as_default():
        for name, shape in (('v', [1]), ('w', [3, 3, 2, 4]), ('frozen', [1])):
            tf.get_variable(name, shape)
        step = tf.train.get_or_create_global_step()
        optimizers.create(recipe, tf.constant(1., tf.float64), tf.constant(0., tf.float64), step,
                          lambda name: name == 'frozen')
    out = capsys.readouterr().out
    if shrunk:
        assert out.startswith(f'note: weight decay shrinks {shrunk} in each step')
    else:
        assert not out


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(UsageError, match='did you mean nesterov'):
        optimizers.create(Recipe('test', optimizer='nestrov'), None, None, None)


# One model for each way of training; all others differ from one of them in numbers alone.
@pytest.mark.parametrize('model, changes', [
    ('sprint', ['compute_dtype=float32']),
    ('davidnet_tricks', ['compute_dtype=float32', 'ema_epochs=1']),
    ('lenet5', ['optimizer=adam', 'weight_decay=0', 'decoupled_weight_decay=2e-4'])])
def test_training_resumes_from_the_saved_variables_alone(
        model, changes, tmp_path, default_graph):
    """A restored session ends with the same variables as the session that went on."""
    random = np.random.RandomState(0)
    graph = train_graph(
        model, ['epochs=1.5', 'schedule=one_cycle 0.7', *changes], model=model,
        sample_images=lambda: random.randn(64, 32, 32, 3).astype(np.float32))
    variables = {v.op.name: v for v in tf.global_variables()}
    saver = tf.train.Saver()
    path = str(tmp_path / 'model.ckpt')

    def train(session, steps):
        for _ in range(steps):
            session.run(graph.train)
        return session.run(variables)

    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        train(session, 3)
        saver.save(session, path, write_meta_graph=False)
        expected = train(session, 3)
    with tf.Session() as session:
        saver.restore(session, path)
        resumed = train(session, 3)
    assert len(variables) > 10 and expected['global_step'] == 6
    for name, value in expected.items():  # threads may add up gradients in another order
        np.testing.assert_allclose(resumed[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_learning_rate_may_have_any_number_of_digits():
    """A parameter group keeps 14 of them."""
    rate = 0.29061477169246763
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.train.create_global_step()
        variable = tf.get_variable('v', initializer=1., use_resource=True)
        recipe = Recipe('test', optimizer='sgd', learning_rate=rate)
        optimizer = optimizers.create(recipe, tf.constant(1., tf.float64),
                                      tf.constant(0., tf.float64), step)
        update = optimizer.apply_gradients([(tf.constant(1.), variable)])
        session.run(tf.global_variables_initializer())
        session.run(update)
        assert session.run(variable) == np.float32(1 - np.float32(rate))


@needs_bfloat16
def test_orthogonalize_in_bfloat16_is_nearly_the_same():
    matrix = np.random.RandomState(2).randn(40, 8).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        result = session.run(optimizers.orthogonalize(tf.constant(matrix), 'bfloat16'))
    assert result.dtype == np.float32
    error = np.abs(result - slow_orthogonalize(matrix)).max()
    assert 1e-4 < error < 0.03

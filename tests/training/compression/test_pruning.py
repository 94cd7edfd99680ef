"""Pruning while training: the schedule, the zeros in every optimizer, and resuming."""

import re
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from models.layers.net import Net
from permafrost.config import Config
from permafrost.errors import UserError
from permafrost.evaluation import evaluator
from permafrost.recipes import durations, overrides
from permafrost.training.checkpoints import finding
from permafrost.training.compression import pruning
from permafrost.training.optimization.optimizers import OPTIMIZERS
from permafrost.transfer import trained_weights
from tests import networks
from tests.training.helpers import train_graph

STRUCTURED = ('structured_sparsity=0.5', 'spared_layers=none')


def _config(*changes, **fields):
    recipe = overrides.get_recipe('tutorial', ['batch_size=10', 'epochs=8', *changes])
    return Config('tuto', recipe, 80, train_images=100, **fields)  # ten steps an epoch


def test_the_schedule_is_the_published_cubic():
    config = _config('sparsity=0.8', 'prune_start_epoch=2', 'prune_epochs=4')
    assert durations.prune_steps(config) == (20, 60)
    for step in range(0, 81, 2):  # 40 steps have a stage each
        t = min(max((step - 20) / 40, 0), 1)
        assert pruning.sparsity_at(config, step) == pytest.approx(.8 - .8 * (1 - t) ** 3), step


def test_half_of_what_is_left_is_for_pruning_by_default():
    assert durations.prune_steps(_config('structured_sparsity=0.5')) == (0, 40)
    assert durations.prune_steps(_config('sparsity=0.5', 'prune_start_epoch=2')) == (20, 50)


@pytest.mark.parametrize('optimizer, changes', [
    *((name, ('sparsity=0.7',)) for name in sorted(OPTIMIZERS)), ('muon', STRUCTURED)])
def test_zeros_stay_and_everything_else_is_trained(optimizer, changes, default_graph):
    """Also with weight decay, momentum and averages, which have seen the weights before."""
    graph = train_graph('tutorial', [
        f'optimizer={optimizer}', 'learning_rate=0.01', 'layer_weight_decay=0',
        'decoupled_weight_decay=0.01', *changes])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(graph.train)
        graph.pruner.prune(session, float(changes[0].partition('=')[2]))
        masks = session.run(graph.pruner.masks)
        before = session.run(graph.pruner.variables)
        for _ in range(3):
            session.run(graph.train)
        after = session.run(graph.pruner.variables)
    assert masks
    for name, value in after.items():
        mask = np.broadcast_to(masks.get(name, np.float32(1)), value.shape)
        assert not value[mask == 0].any() and not before[name][mask == 0].any(), name
        if name.endswith('weights'):
            assert (value != before[name])[mask == 1].mean() > .9, name
            assert (mask == 0).any() == (name in masks)


@pytest.mark.parametrize('changes', [('sparsity=0.5',), STRUCTURED])
def test_masks_never_bring_anything_back(changes, default_graph):
    graph = train_graph('lenet5', [*changes, 'compute_dtype=float32'])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        earlier = session.run(graph.pruner.masks)
        for sparsity in (.1, .3, .5):
            graph.pruner.prune(session, sparsity)
            masks = session.run(graph.pruner.masks)
            assert all((masks[name] <= earlier[name]).all() for name in masks)
            earlier = masks
            session.run(graph.train)
        assert session.run(graph.scalars['sparsity']) == np.float32(.5)


def _masked(changes, model='tuto', is_frozen=lambda name: False):
    recipe = overrides.get_recipe('tutorial', ['sparsity=0.5', *changes])
    with tf.Graph().as_default():
        models.build(model, Net(training=True), tf.zeros([2, 24, 24, 3]))
        return sorted(pruning.create(Config(model, recipe, 1), 10, is_frozen).masks)


def test_first_last_and_frozen_layers_are_spared():
    assert _masked([]) == ['conv2/weights', 'fc1/weights', 'fc2/weights']
    assert _masked(['spared_layers=fc1,logits']) == [
        'conv1/weights', 'conv2/weights', 'fc2/weights']
    assert _masked([], is_frozen=lambda name: name.startswith('conv')) == [
        'fc1/weights', 'fc2/weights']
    assert len(_masked(['spared_layers=none'])) == 5
    assert not [name for name in _masked(['spared_layers=fire1'], 'squeeze1') if 'fire1' in name]
    assert not [name for name in _masked([], 'xception_mini') if 'depthwise' in name]


def test_filters_whose_offset_is_frozen_are_spared():
    """Their outputs would be the offset, not zero, so they could not be removed."""
    changes = ['sparsity=0', 'structured_sparsity=0.5', 'spared_layers=none']
    assert 'fc1/weights' not in _masked(changes, is_frozen=lambda name: name == 'fc1/biases')
    with pytest.raises(UserError, match='no layer of resnet20 can be pruned'):
        _masked(changes, 'resnet20', is_frozen=lambda name: name.endswith('beta'))


def test_filters_that_read_neighbours_or_make_classes_are_spared():
    assert _masked(['sparsity=0', 'structured_sparsity=0.5', 'spared_layers=none']) == [
        'fc1/biases', 'fc1/weights', 'fc2/biases', 'fc2/weights']  # lrn follows both convolutions


@pytest.mark.parametrize('changes, message', [
    (['spared_layers=conv9'], 'tuto has no layer conv9: set --spared_layers to first, last or '
                              'any of conv1, conv2, fc1, fc2, logits'),
    (['spared_layers=conv1,conv2,fc1,fc2,logits'], 'no layer of tuto can be pruned')])
def test_a_wrong_layer_is_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        _masked(changes)


def _prune_to_the_end(changes):
    config = Config('tuto', overrides.get_recipe('tutorial', changes), 10)
    with tf.Graph().as_default(), tf.Session() as session:
        models.build('tuto', Net(training=True, step=tf.train.get_or_create_global_step()),
                     tf.zeros([2, 24, 24, 3]))
        hook = pruning.PruningHook(pruning.create(config, 10), config, None)
        session.run(tf.global_variables_initializer())
        hook.after_run(types.SimpleNamespace(session=session),
                       types.SimpleNamespace(results=10 ** 6))


@pytest.mark.parametrize('changes, what', [
    # Multiples of 16 stay: 17 of the 24 in fc1, and 8 of the 12 in fc2.
    (['structured_sparsity=0.3', 'spared_layers=none'],
     '176 of the 576 filters that can be pruned (30.6 %)'),
    # half of 5 * 5 * 64 * 64 + 6 * 6 * 64 * 384 + 384 * 192
    (['sparsity=0.5'], '530,432 of the 1,060,864 weights that can be pruned (50 %)')])
def test_what_is_zero_is_counted_when_the_sparsity_is_reached(changes, what, capsys):
    _prune_to_the_end(changes)
    assert capsys.readouterr().out == f'pruned at step 1000000: {what}\n'


def test_a_structured_sparsity_that_removes_no_filter_is_refused():
    with pytest.raises(UserError, match=re.escape(
            'structured_sparsity=0.01 is too low to remove any filter of tuto (layer widths stay '
            'multiples of 16 or 8): use a higher value')):
        _prune_to_the_end(['structured_sparsity=0.01'])


@pytest.mark.parametrize('changes', [
    ('structured_sparsity=0.5', 'ema_decay=0.9'),
    ('sparsity=0.75', 'sparsity_scope=global'),
    pytest.param(('sparsity=0.75', 'ema_decay=0'), marks=pytest.mark.slow)])
def test_a_resumed_training_is_bit_equal_and_its_zeros_are_evaluated(
        changes, synthetic, tmp_path, capsys):
    """Twenty steps an epoch; pruning takes the second, stops in its middle, and goes on."""
    changes = ['epochs=3', 'prune_start_epoch=1', 'prune_epochs=1', *changes]
    one, two = str(tmp_path / 'one'), str(tmp_path / 'two')
    options = {'changes': changes, 'deterministic': True}
    networks.train(synthetic, one, 45, **options)
    assert 'pruned at step 40' in capsys.readouterr().out
    networks.train(synthetic, two, 27, **options)
    networks.train(synthetic, two, 45, resume=True, **options)
    whole, parts = (tf.train.load_checkpoint(finding.find_checkpoint(run)[1])
                    for run in (one, two))
    names = whole.get_variable_to_shape_map()
    for name in names:
        np.testing.assert_array_equal(whole.get_tensor(name), parts.get_tensor(name), name)
    assert whole.get_tensor('pruning/sparsity') == np.float32(changes[3].partition('=')[2])
    with networks.registered():
        with evaluator.Evaluator(one, None) as run:
            run.evaluate(*finding.find_checkpoint(one))
            weights = {v.op.name: run.session.run(v) for v in run.session.graph.get_collection(
                tf.GraphKeys.GLOBAL_VARIABLES)}
        config = Config('normed', overrides.get_recipe('tutorial'), 1)
        initial = trained_weights.read(one, config, synthetic).values
    masks = [name for name in names if name.endswith('/mask')]
    assert 'conv2/weights/mask' in masks
    for name in masks:
        owner = name[:-len('/mask')]
        zero = np.broadcast_to(whole.get_tensor(name), weights[owner].shape) == 0
        assert zero.any() and not weights[owner][zero].any()
        assert not initial[owner][zero].any()
        if owner.endswith('beta'):  # as structured pruning needs it
            mean = owner.replace('beta', 'moving_mean')
            assert not weights[mean][zero].any() and weights[mean][~zero].all()


def test_a_mask_of_another_shape_is_one_line():
    class Reader:
        def has_tensor(self, unused_name):
            return True

        def get_tensor(self, unused_name):
            return np.ones((7, 3))

    with pytest.raises(UserError, match='the checkpoint is damaged: a/mask does not fit'):
        pruning.masked(Reader(), 'a', np.ones((3, 3)))

"""Training with images of several sizes."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.errors import UserError
from permafrost.inputs import resizing
from permafrost.recipes import overrides
from permafrost.training.graph import build_train_graph
from tests import networks
from tests.training.helpers import train_graph


def trained(graph, steps):
    """Return the loss of each step, and all variables after the last."""
    variables = {each.op.name: each for each in tf.global_variables()}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        losses = [session.run([graph.scalars['loss'], graph.train])[0] for _ in range(steps)]
        return losses, session.run(variables)


@pytest.mark.parametrize('changes', [
    ['param_groups=beta freeze_epoch=1'], ['param_groups=none', 'quantization_aware_epochs=2.5']])
def test_copies_of_one_size_train_as_the_network_alone(changes):
    """Batch normalization, its moving statistics, frozen variables and weight decay included."""
    found = []
    for sizes in ('none', 'crop 0:32 0.5:32 1.5:32'):
        with networks.registered(), tf.Graph().as_default():
            found.append(trained(train_graph('sprint', [
                'compute_dtype=float32', 'epochs=4', 'learning_rate=0.001', *changes,
                f'progressive_resizing={sizes}'], 'normed'), 8))
    (expected_losses, expected), (losses, variables) = found
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert set(variables) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(variables[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize('step, size', [(0, 16), (1, 16), (2, 20), (3, 24), (9, 24)])
def test_each_phase_sees_images_of_its_size(step, size):
    images = np.random.RandomState(1).normal(size=[8, 24, 24, 3]).astype(np.float32)

    def first_loss(image_size, sizes):
        with networks.registered(), tf.Graph().as_default():
            recipe = overrides.get_recipe('squeeze', [
                'batch_size=8', f'image_size={image_size}', f'progressive_resizing={sizes}'])
            inputs = resizing.smaller(tf.constant(images), 'resize', image_size, 1, 0)
            graph = build_train_graph(
                Config('normed', recipe, 100), 10, inputs, tf.range(8, dtype=tf.int64))
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                session.run(tf.train.get_global_step().assign(step))
                return session.run(graph.scalars['loss'])

    # An epoch of this recipe, whose length is in images, is CIFAR-10's: 6,250 batches of 8.
    grown = first_loss(24, 'resize 0:16 2/6250:20 3/6250:24')
    assert grown == pytest.approx(first_loss(size, 'none'), rel=1e-6)


def test_a_size_that_is_too_small_for_the_model_is_one_line(default_graph):
    with pytest.raises(UserError, match='for images of 20x20 .*: give --progressive_resizing l'):
        train_graph('sprint', [
            'compute_dtype=float32', 'progressive_resizing=crop 0:20 1:32'], 'sprint')

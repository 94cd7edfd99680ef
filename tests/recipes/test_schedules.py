"""Schedules against values worked out by hand, as numbers and as tensors."""

import math

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.errors import UsageError
from permafrost.recipes import catalog, durations, overrides, param_groups, schedules

tf.disable_v2_behavior()
tf.enable_resource_variables()

# {text: {epoch: factor}} in a recipe of 24 epochs.
BY_HAND = {
    'constant': {0: 1, 7.5: 1, 99: 1},
    'steps 8:0.1 16:0.01': {0: 1, 7.99: 1, 8: 0.1, 15: 0.1, 16: 0.01, 40: 0.01},
    'linear 0:0 5:1 24:0': {0: 0, 2.5: 0.5, 5: 1, 14.5: 0.5, 24: 0, 30: 0},
    'linear 2:0.5': {0: 0.5, 9: 0.5},
    'one_cycle 6': {0: 0, 3: 0.5, 6: 1, 15: 0.5, 24: 0, 25: 0},
    'one_cycle 6 0.1 0.01': {0: 0.1, 6: 1, 24: 0.01},
    'cosine 4': {0: 0, 2: 0.5, 4: 1, 14: 0.5, 9: (1 + math.cos(math.pi / 4)) / 2, 24: 0, 30: 0},
    'cosine': {0: 1, 12: 0.5, 24: 0},
    'cosine 4 0.5 0.2': {0: 0.5, 4: 1, 14: 0.6, 24: 0.2},
    'exponential 0.5 4': {0: 1, 2: 0.5 ** 0.5, 4: 0.5, 8: 0.25},
    'staircase 0.5 4': {0: 1, 3.99: 1, 4: 0.5, 7: 0.5, 8: 0.25},
}


@pytest.mark.parametrize('text', BY_HAND)
def test_factors(text):
    factor = schedules.schedule(text, 24.)
    epochs = tf.placeholder(tf.float64, [])
    with tf.Session() as session:
        tensor = tf.convert_to_tensor(factor(schedules.tensors(), epochs))
        for epoch, expected in BY_HAND[text].items():
            assert float(factor(schedules.NUMPY, epoch)) == pytest.approx(expected, abs=1e-9)
            assert session.run(tensor, {epochs: epoch}) == pytest.approx(expected, abs=1e-9)


def test_every_schedule_is_among_them():
    assert {text.split()[0] for text in BY_HAND} == set(schedules.SCHEDULES)
    for example in schedules.EXAMPLES:
        schedules.schedule(example, 200.)


@pytest.mark.parametrize('text, message', [
    ('linaer 0:0', 'did you mean linear'), ('', 'there are: constant'),
    ('linear', 'epoch:factor'), ('linear 0:0 0:1', 'must rise'), ('linear 0 5', 'epoch:factor'),
    ('one_cycle', 'one_cycle 5'), ('one_cycle 24', 'within the 24 epochs'),
    ('steps fast', 'steps 82:0.1'), ('exponential -1', 'exponential 0.5 25'),
    ('staircase half', 'staircase 0.5 25'), ('staircase 0', 'staircase 0.5 25'),
    ('staircase 0.5 0', 'a positive number'), ('constant 3', "as in 'constant'")])
def test_what_cannot_be_meant(text, message):
    with pytest.raises(UsageError, match=message):
        schedules.schedule(text, 24.)


@pytest.mark.parametrize('text', BY_HAND)
def test_a_stretched_schedule_does_the_same_later(text):
    old = schedules.schedule(text, 24.)
    new = schedules.schedule(schedules.rescaled(text, 1.5), 36.)
    for epoch in range(0, 30):
        assert new(schedules.NUMPY, 1.5 * epoch) == pytest.approx(old(schedules.NUMPY, epoch))


def test_every_recipe_ends_its_schedule_when_it_is_made_shorter():
    for name in catalog.RECIPES:
        settings = [Config('tuto', value, 1) for value in (
            overrides.get_recipe(name), overrides.get_recipe(name, ['epochs=3']),
            overrides.get_recipe(name, ['images=150000', 'epochs=0']))]
        long, short, other = [
            [float(durations.learning_rate_at(s, part * durations.num_epochs(s) * 50000 / s.recipe.batch_size))
             for part in (0, .1, .5, .9, 1)] for s in settings]
        assert short == pytest.approx(long), name
        assert other == pytest.approx(long), name
    recipe = overrides.get_recipe('resnet', ['epochs=60', 'schedule=linear 0:1 9:0'])
    assert recipe.schedule == 'linear 0:1 9:0'


def test_the_rest_of_a_recipe_follows_its_length():
    short = overrides.get_recipe('sprint', ['epochs=5'])
    assert param_groups.param_group_for(short, 'whiten/biases') == param_groups.param_group_for(
        overrides.get_recipe('sprint'), 'whiten/biases')._replace(until=1.5)
    assert param_groups.param_group_for(short, 'conv1/weights').until == float('inf')
    assert overrides.get_recipe('davidnet_tricks', ['epochs=20']).average_epochs == 4
    kept = overrides.get_recipe('davidnet_tricks', ['epochs=20', 'average_epochs=1', 'rules=fc until=2'])
    assert kept.average_epochs == 1 and kept.rules == ('fc until=2',)


@pytest.mark.parametrize('images', [10000, 200000])
def test_a_recipe_in_images_is_the_same_on_all_data(images):
    recipe = overrides.get_recipe('resnet_paper')
    settings = Config('resnet20', recipe, 64000, train_images=images)
    assert durations.num_steps(recipe, images) == 64000
    for step, rate in ((31000, .1), (33000, .01), (47000, .01), (49000, .001), (63000, .001)):
        assert durations.learning_rate_at(settings, step) == pytest.approx(rate)
    assert durations.num_steps(overrides.get_recipe('sprint', ['epochs=1e-7'])) == 1


@pytest.mark.parametrize('name, changes, message', [
    ('sprint', ['images=1000'], '--set epochs=... makes it longer or shorter'),
    ('sprint', ['epochs=0'], 'leaves the length to images')])
def test_lengths_that_would_do_nothing(name, changes, message):
    with pytest.raises(UsageError, match=message):
        overrides.get_recipe(name, changes)


def test_steps_and_rates_of_a_recipe():
    """davidnet's published recipe: 0.4 at epoch 5 of 24, at 97.7 batches of 512 an epoch."""
    recipe = overrides.get_recipe('davidnet', [
        'epochs=24', 'schedule=linear 0:0 5:1 24:0', 'learning_rate=0.4', 'batch_size=512'])
    settings = Config('davidnet', recipe, 1)
    assert durations.num_steps(recipe) == 2344  # 24 * 50000 / 512, rounded up
    assert durations.num_steps(recipe, 1024) == 48
    rates = [float(durations.learning_rate_at(settings, step)) for step in range(2345)]
    assert rates[0] == 0 and np.argmax(rates) in (488, 489)
    assert max(rates) == pytest.approx(0.4, rel=2e-3) and rates[-1] == pytest.approx(0, abs=1e-3)
    assert sum(rates) / 2344 == pytest.approx(0.2, rel=1e-2)


def test_a_schedule_follows_the_length_of_the_epoch():
    recipe = overrides.get_recipe('davidnet', ['batch_size=512'])
    for images, step in ((50000, 500), (5000, 50)):
        settings = Config('davidnet', recipe, 1, train_images=images)
        assert durations.epoch_at(settings, step) == pytest.approx(5.12)

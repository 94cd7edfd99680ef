"""Durations: epochs and images as steps, and learning rates by step."""

import numpy as np
import pytest

from permafrost.config import Config
from permafrost.recipes import durations, overrides


@pytest.mark.parametrize('images', [10000, 200000])
def test_a_recipe_in_images_does_the_same_on_any_dataset(images):
    recipe = overrides.get_recipe('resnet_paper')
    config = Config('resnet20', recipe, 64000, train_images=images)
    assert durations.num_steps(recipe, images) == 64000
    for step, rate in ((31000, .1), (33000, .01), (47000, .01), (49000, .001), (63000, .001)):
        assert durations.learning_rate_at(config, step) == pytest.approx(rate)


def test_the_length_in_steps_is_rounded_up():
    assert durations.num_steps(overrides.get_recipe('tutorial')) == 10000
    assert durations.num_steps(
        overrides.get_recipe('tutorial', ['batch_size=1000', 'train_images=2001'])) == 3
    assert durations.num_steps(overrides.get_recipe('sprint', ['epochs=1e-7'])) == 1


def test_learning_rates_by_step_are_those_published_for_davidnet():
    """0.4 at epoch 5 of 24, at 97.7 batches of 512 an epoch."""
    recipe = overrides.get_recipe('davidnet', [
        'epochs=24', 'schedule=linear 0:0 5:1 24:0', 'learning_rate=0.4', 'batch_size=512'])
    config = Config('davidnet', recipe, 1)
    assert durations.num_steps(recipe) == 2344  # 24 * 50000 / 512, rounded up
    assert durations.num_steps(recipe, 1024) == 48
    rates = [float(durations.learning_rate_at(config, step)) for step in range(2345)]
    assert rates[0] == 0 and np.argmax(rates) in (488, 489)
    assert max(rates) == pytest.approx(0.4, rel=2e-3) and rates[-1] == pytest.approx(0, abs=1e-3)
    assert sum(rates) / 2344 == pytest.approx(0.2, rel=1e-2)


@pytest.mark.parametrize('images, step', [(50000, 500), (5000, 50)])
def test_a_schedule_follows_the_length_of_the_epoch(images, step):
    recipe = overrides.get_recipe('davidnet', ['batch_size=512'])
    config = Config('davidnet', recipe, 1, train_images=images)
    assert durations.epoch_at(config, step) == pytest.approx(5.12)


@pytest.mark.parametrize('batch_size', [125, 250, 500, 1000])
def test_an_epoch_begins_at_its_first_step(batch_size):
    recipe = overrides.get_recipe('resnet', [f'batch_size={batch_size}'])
    config = Config('resnet20', recipe, 1, train_images=49000)
    steps = 49000 // batch_size
    assert [durations.epoch_at(config, epoch * steps) for epoch in range(300)] == list(range(300))


@pytest.mark.parametrize('interval, before, step, expected', [
    (5, 4, 5, True), (5, 5, 6, False), (5, 3, 11, True), (5, 0, 4, False), (1, 0, 1, True),
    (0, 3, 11, False)])
def test_a_multiple_is_crossed(interval, before, step, expected):
    assert durations.crossed_multiple_of(interval, before, step) == expected

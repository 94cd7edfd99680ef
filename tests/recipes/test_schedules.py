"""Schedules against values worked out by hand, as numbers and as tensors; as text."""

import math

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError
from permafrost.recipes import overrides, schedules
from permafrost.recipes.schedules import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    OneCycle,
    ProgressiveResizing,
    Staircase,
    Steps,
)

# (schedule, text, {epoch: factor}) in a recipe of 24 epochs.
BY_HAND = [
    (Constant(), 'constant', {0: 1, 7.5: 1, 99: 1}),
    (Steps([8, 16], [0.1, 0.01]), 'steps 8:0.1 16:0.01',
     {0: 1, 7.99: 1, 8: 0.1, 15: 0.1, 16: 0.01, 40: 0.01}),
    (Linear([0, 5, 24], [0, 1, 0]), 'linear 0:0 5:1 24:0',
     {0: 0, 2.5: 0.5, 5: 1, 14.5: 0.5, 24: 0, 30: 0}),
    (Linear([2], [0.5]), 'linear 2:0.5', {0: 0.5, 9: 0.5}),
    (OneCycle(6), 'one_cycle 6', {0: 0, 3: 0.5, 6: 1, 15: 0.5, 24: 0, 25: 0}),
    (OneCycle(6, 0.1, 0.01), 'one_cycle 6 0.1 0.01', {0: 0.1, 6: 1, 24: 0.01}),
    (Cosine(4), 'cosine 4',
     {0: 0, 2: 0.5, 4: 1, 14: 0.5, 9: (1 + math.cos(math.pi / 4)) / 2, 24: 0, 30: 0}),
    (Cosine(), 'cosine', {0: 1, 12: 0.5, 24: 0}),
    (Cosine(4, 0.5, 0.2), 'cosine 4 0.5 0.2', {0: 0.5, 4: 1, 14: 0.6, 24: 0.2}),
    (Exponential(0.5, 4), 'exponential 0.5 4', {0: 1, 2: 0.5 ** 0.5, 4: 0.5, 8: 0.25}),
    (Staircase(0.5, 4), 'staircase 0.5 4', {0: 1, 3.99: 1, 4: 0.5, 7: 0.5, 8: 0.25}),
]
TEXTS = [text for _, text, _ in BY_HAND]


@pytest.mark.parametrize('schedule, text, factors', BY_HAND, ids=TEXTS)
def test_factors_are_those_worked_out_by_hand(schedule, text, factors):
    epochs = tf.placeholder(tf.float64, [])
    with tf.Session() as session:
        tensor = tf.convert_to_tensor(schedule.factor_at(epochs, 24., tf))
        for epoch, expected in factors.items():
            assert float(schedule.factor_at(epoch, 24.)) == pytest.approx(expected, abs=1e-9)
            assert session.run(tensor, {epochs: epoch}) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('schedule, text, factors', BY_HAND, ids=TEXTS)
def test_a_schedule_and_its_text_are_the_same(schedule, text, factors):
    assert str(schedule) == text and schedules.from_text(text) == schedule


def test_every_schedule_is_tested_and_has_examples_that_are_read():
    assert {text.split()[0] for text in TEXTS} == set(schedules.SCHEDULES)
    for name, schedule in schedules.SCHEDULES.items():
        assert schedule.examples
        for example in schedule.examples:
            assert schedules.from_text(example).name == name


@pytest.mark.parametrize('text, message', [
    ('linaer 0:0', 'did you mean linear'), ('', 'choose from: constant'),
    ('linear', 'epoch:factor'), ('linear 0:0 0:1', 'must rise'), ('linear 0 5', 'epoch:factor'),
    ('one_cycle', 'one_cycle 5'), ('steps fast', 'steps 82:0.1'),
    ('steps 82:fast', "'fast' is not a number"), ('exponential -1', 'exponential 0.5 25'),
    ('staircase half', "'half' is not a number.*staircase 0.5 25"),
    ('staircase 0', 'staircase 0.5 25'), ('staircase 0.5 0', 'a positive number'),
    ('constant 3', "as 'constant'")])
def test_a_wrong_text_is_one_line_with_an_example(text, message):
    with pytest.raises(UsageError, match=message) as error:
        schedules.from_text(text)
    assert '\n' not in str(error.value) and '__' not in str(error.value)


@pytest.mark.parametrize('schedule', [OneCycle(24), OneCycle(0), Cosine(24)], ids=str)
def test_the_peak_must_be_within_the_recipe(schedule):
    with pytest.raises(ValueError, match='must rise'):
        schedule.factor_at(0., 24.)


@pytest.mark.parametrize('schedule, text, factors', BY_HAND, ids=TEXTS)
def test_a_rescaled_schedule_does_the_same_later(schedule, text, factors):
    longer = schedule.rescaled(1.5)
    for epoch in range(30):
        assert longer.factor_at(1.5 * epoch, 36.) == pytest.approx(schedule.factor_at(epoch, 24.))


GROWING = ProgressiveResizing('crop', (0., 4.8), (28, 32))


@pytest.mark.parametrize('value, text', [
    (ProgressiveResizing(), 'none'), (GROWING, 'crop 0:28 4.8:32'),
    (ProgressiveResizing('resize', (0., 2., 5.), (16, 24, 32)), 'resize 0:16 2:24 5:32')])
def test_sizes_and_their_text_are_the_same(value, text):
    assert str(value) == text and schedules.resizing_from_text(text) == value


@pytest.mark.parametrize('text, problem', [
    ('28 32', 'begin with crop or resize'), ('zoom 0:28', 'begin with crop or resize'),
    ('crop', 'epoch:pixels must follow'), ('crop 28', 'epoch:pixels must follow'),
    ('crop 0:28:3', 'epoch:pixels must follow'), ('crop 1:28 2:32', 'must rise from 0'),
    ('crop 0:28 0:32', 'must rise from 0'), ('crop 0:x', 'not a number'),
    ('crop x:28', 'not a number'), ('crop 0:0 1:32', 'at least 1 pixel'),
    ('crop 0:27.5 1:32', 'a whole number')])
def test_wrong_sizes_are_one_line_with_an_example(text, problem):
    with pytest.raises(UsageError, match=problem) as caught:
        schedules.resizing_from_text(text)
    assert "Write it as 'crop 0:28 6:32'" in str(caught.value)


def test_a_longer_recipe_changes_sizes_later():
    short = overrides.get_recipe('sprint', ['epochs=8', 'progressive_resizing=crop 0:28 4.8:32'])
    assert short.progressive_resizing == GROWING
    longer = overrides.with_changes(short, ['epochs=10'])
    assert str(longer.progressive_resizing) == 'crop 0:28 6:32'
    assert overrides.with_changes(short, ['progressive_resizing=none']).progressive_resizing == (
        ProgressiveResizing())


@pytest.mark.parametrize('changes, problem', [
    (['progressive_resizing=crop 0:28'], 'must end at image_size=32'),
    (['progressive_resizing=crop 0:40 2:32'], 'must end at image_size=32 and never exceed it'),
    (['image_size=24', 'progressive_resizing=crop 0:28 2:32'], 'must end at image_size=24'),
    (['progressive_resizing=crop 0:28 10:32', 'epochs=10'], 'at epoch 10, and the training ends')])
def test_sizes_must_fit_the_recipe(changes, problem):
    with pytest.raises(UsageError, match=problem):
        overrides.get_recipe('sprint', changes)

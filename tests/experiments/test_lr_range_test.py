"""The learning-rate range test: what it runs, suggests and draws."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError, UserError
from permafrost.experiments import lr_range_test
from permafrost.experiments.lr_range_test import RangeTest
from permafrost.recipes import durations
from tests import networks


def train_setup(dataset, steps=20, changes=()):
    return networks.train_setup(dataset, None, steps, changes=['epochs=3', *changes])


@pytest.fixture(autouse=True)
def models():
    with networks.registered():
        yield


def test_the_rate_rises_by_one_factor_per_step(synthetic):
    config = train_setup(synthetic, changes=['param_groups=fc learning_rate=0.5']).config
    ramp = lr_range_test.ramped(config, 40)
    rates = [durations.learning_rate_at(ramp, step) for step in range(41)]
    np.testing.assert_allclose(np.diff(np.log(rates)), np.log(1e6) / 40, rtol=1e-6)
    assert rates[0] == pytest.approx(0.05e-4) and rates[-1] == pytest.approx(0.05e2)
    assert ramp.recipe.param_groups[0].learning_rate == pytest.approx(0.5e-4)


@pytest.mark.parametrize('name', ['mine.svg', 'mine.png', None])
def test_it_draws_and_suggests_and_leaves_no_run(synthetic, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    assert lr_range_test.run(train_setup(synthetic), None, 30, name) == 0
    output = capsys.readouterr().out
    name = name or 'tiny-tutorial-lr-range.svg'
    assert os.listdir('.') == [name] and f'chart: {name}\n' in output
    start = (tmp_path / name).read_bytes()[:200]
    assert (b'<?xml' in start) == name.endswith('.svg') and (b'PNG' in start) == (
        name.endswith('.png'))
    assert 'suggestion: --learning_rate 0.' in output and '(the recipe has 0.05)' in output


def test_too_few_steps_are_refused(synthetic):
    with pytest.raises(UsageError, match='needs at least 10 steps, not --steps=9'):
        lr_range_test.run(train_setup(synthetic), None, 9, None)


def test_the_suggestion_is_below_the_rate_of_the_lowest_loss():
    result = RangeTest([0.01, 0.1, 0.9, 8.], [2., 1., 0.5, 9.], [2., 1.5, 1., 5.])
    assert result.best == 0.9 and result.suggestion == 0.3


@pytest.mark.parametrize('averages, expected', [
    ([2.] * 9 + [9.], True), ([2.] * 9 + [7.9], False), ([2., 9.], False)])
def test_the_loss_has_exploded_at_four_times_the_lowest(averages, expected):
    assert RangeTest([0.1] * len(averages), averages, averages).has_exploded == expected


def test_a_loss_that_is_no_number_has_exploded(synthetic):
    result = RangeTest([0.1, 1.], [2., 1.], [2., 1.], is_finite=False)
    text = lr_range_test.describe(result, train_setup(synthetic).config)
    assert result.has_exploded and 'then it explodes' in text and 'falls to the end' not in text


def test_a_loss_that_falls_to_the_end_is_noted(synthetic):
    result = RangeTest([0.1, 1.], [2., 1.], [2., 1.])
    text = lr_range_test.describe(result, train_setup(synthetic).config)
    assert 'note: the loss falls to the end of the range' in text and 'explodes' not in text


def test_a_loss_that_is_no_number_at_once_is_not_for_the_learning_rate(synthetic, monkeypatch):
    build = lr_range_test.build

    def build_broken(*arguments):
        graph = build(*arguments)
        return graph._replace(scalars=dict(graph.scalars, loss=graph.scalars['loss'] / 0.))

    monkeypatch.setattr(lr_range_test, 'build', build_broken)
    with pytest.raises(UsageError, match='not finite before the first update: check --init_from, '
                       '--teacher and the dataset'):
        lr_range_test.run(train_setup(synthetic), None, 20, None)


def test_an_error_that_the_graph_raises_for_the_user_is_one_line(synthetic, monkeypatch):
    build = lr_range_test.build

    def fail():
        raise UserError('the dataset has changed: start again')

    monkeypatch.setattr(lr_range_test, 'build', lambda *arguments: build(*arguments)._replace(
        train=tf.py_func(fail, [], [])))
    with pytest.raises(UserError, match='^the dataset has changed: start again$'):
        lr_range_test.run(train_setup(synthetic), None, 20, None)


@pytest.mark.parametrize('output, changes, message', [
    ('a.pdf', [], "must end in .svg or .png, not 'a.pdf'"),
    ('none/a.svg', [], 'none/a.svg: name a file, in a folder that exists'),
    (None, ['learning_rate=0'], '--learning_rate=0 has no range')])
def test_what_cannot_be_tested_is_refused(synthetic, output, changes, message):
    with pytest.raises(UsageError, match=message):
        lr_range_test.run(train_setup(synthetic, changes=changes), None, None, output)

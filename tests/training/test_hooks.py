"""Hooks: progress, stopping."""

import re
import sys
from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.training import hooks
from tests import networks


def test_progress_is_a_line_every_interval_and_at_the_end(synthetic, tmp_path, capfd):
    networks.train(synthetic, tmp_path, 5, 'tiny', log_steps=2)
    output = capfd.readouterr().out
    assert re.search(r'^first step after [\d.]+ s$', output, re.M)
    assert re.findall(r'^step (\d)/5 accuracy \S+ loss \S+', output, re.M) == ['2', '4', '5']
    assert re.search(r'^step 4/5 .* \d+ images/s ETA 0:00:0\d$', output, re.M)


def test_images_per_second_are_of_the_steps_since_the_last_line(synthetic, monkeypatch, capsys):
    """Of the steps after the first, which includes the start; without excluded seconds."""
    clock = SimpleNamespace(now=100.)
    monkeypatch.setattr(hooks, 'time', SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)  # stdout is not: `train | tee log`
    config = networks.train_setup(synthetic, None, 40, log_steps=10).config
    graph = SimpleNamespace(step=None, scalars={'loss': None, 'accuracy': None})
    logging = hooks.LoggingHook(graph, config, run=None)
    for step in range(1, 21):
        logging.after_run(None, SimpleNamespace(
            results={'step': step, 'loss': 1., 'accuracy': .5}))
        clock.now += 2 if step < 10 else 0.5
        if step == 12:
            clock.now += 30
            logging.exclude(30)
    first, second = config.recipe.batch_size / 2, config.recipe.batch_size / 0.5
    assert capsys.readouterr().out.splitlines()[1:] == [
        f'step 10/40 accuracy 0.5 loss 1 {first:.0f} images/s ETA 0:01:00',
        f'step 20/40 accuracy 0.5 loss 1 {second:.0f} images/s ETA 0:00:10']
    assert logging.images_per_second == pytest.approx(second)


def test_a_loss_that_is_not_finite_is_an_error(synthetic, default_graph):
    step = tf.train.get_or_create_global_step()
    graph = SimpleNamespace(step=step + 7, scalars={
        'loss': tf.constant(float('nan')), 'accuracy': tf.constant(.5)})
    logging = hooks.LoggingHook(graph, networks.train_setup(synthetic, None, 9).config, run=None)
    with pytest.raises(UserError, match='became NaN or infinite at step 7 .* The chief keeps'):
        with tf.train.MonitoredSession(hooks=[logging]) as session:
            session.run(step)


@pytest.mark.parametrize('last_step, signal_after, expected', [
    (3, None, 3), (9, 2, 2), (0, None, 0)])
def test_training_stops_at_the_last_step_or_after_a_signal(
        default_graph, last_step, signal_after, expected):
    step = tf.train.get_or_create_global_step()
    advance = step.assign_add(1)
    signals = SimpleNamespace(code=0)
    with tf.train.MonitoredSession(
            hooks=[hooks.StopHook(advance.read_value(), last_step, signals)]) as session:
        steps = 0
        while not session.should_stop():
            if steps + 1 == signal_after:
                signals.code = 143
            session.run(advance)
            steps += 1
    assert steps == expected

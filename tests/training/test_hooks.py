"""Hooks: progress, summaries as TensorBoard reads them, stopping."""

import re
from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.training import hooks
from tests import networks, processes


def test_progress_is_a_line_every_interval_and_at_the_end(synthetic, tmp_path, capfd):
    networks.train(synthetic, tmp_path, 5, 'tiny', log_steps=2)
    output = capfd.readouterr().out
    assert re.search(r'^first step after [\d.]+ s$', output, re.M)
    assert re.findall(r'^step (\d)/5 accuracy \S+ loss \S+', output, re.M) == ['2', '4', '5']
    assert re.search(r'^step 4/5 .* \d+ images/s ETA 0:00:0\d$', output, re.M)


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


def test_summaries_are_written_at_the_first_step_and_every_interval(synthetic, tmp_path):
    networks.train(synthetic, tmp_path, 5, 'tiny', summary_steps=1, histogram_steps=4)
    steps, has_graph = {}, False
    for event in processes.events(tmp_path):
        has_graph |= bool(event.graph_def)
        for value in event.summary.value:
            steps.setdefault(value.tag, []).append(event.step)
    assert has_graph
    for tag in ('loss', 'cross_entropy', 'weight_decay', 'accuracy', 'learning_rate'):
        assert steps[tag] == [1, 2, 3, 4, 5]
    assert steps['images/image/0'] == steps['histograms/conv1/weights'] == [1, 4]


def test_the_speed_is_written_once_it_is_known(synthetic, tmp_path):
    networks.train(synthetic, tmp_path, 4, 'tiny', summary_steps=1, log_steps=2)
    steps = [event.step for event in processes.events(tmp_path)
             for value in event.summary.value if value.tag == 'images_per_second']
    assert steps == [2, 3, 4]


def test_tensorboard_shows_each_step_of_a_resumed_run_once(synthetic, tmp_path):
    """The killed run had logged steps after its last checkpoint."""
    from tensorboard.backend.event_processing import event_accumulator
    options = {'save_steps': 4, 'summary_steps': 1, 'histogram_steps': 1000}
    networks.train(synthetic, tmp_path, 7, 'tiny', **options)
    for path in (tmp_path / 'train').glob('model.ckpt-7*'):
        path.unlink()  # as if it had been killed between steps 4 and 8
    networks.train(synthetic, tmp_path, 12, 'tiny', resume=True, **options)
    events = event_accumulator.EventAccumulator(str(tmp_path / 'train')).Reload()
    assert [e.step for e in events.Scalars('loss')] == list(range(1, 13))
    assert events.Images('images/image/0') and events.Graph().node


def test_a_full_disk_of_events_ends_no_training(synthetic, tmp_path, monkeypatch, capfd):
    writer = tf.io.TFRecordWriter
    monkeypatch.setattr(tf.io, 'TFRecordWriter', lambda path: writer('/dev/full'))
    networks.train(synthetic, tmp_path, 3, 'tiny', summary_steps=1, histogram_steps=1)
    output = capfd.readouterr().out
    assert output.count('note: cannot write ') == 1
    assert re.search(rf'^note: cannot write {tmp_path}/train/events\S+ \(No space left '
                     r'on device\): TensorBoard will not show what follows$', output, re.M)
    assert 'done at step 3' in output

"""Summaries of the training, as TensorBoard reads them."""

import re

import pytest

from tests import networks, processes


def test_summaries_are_written_at_the_first_step_and_every_interval(synthetic, tmp_path):
    networks.train(synthetic, tmp_path, 5, 'tiny', summary_steps=1, histogram_steps=4)
    steps, has_graph = {}, False
    for event in processes.events(tmp_path):
        has_graph |= bool(event.graph_def)
        for value in event.summary.value:
            steps.setdefault(value.tag, []).append(event.step)
    assert has_graph
    for tag in ('loss/total', 'loss/cross_entropy', 'loss/weight_decay', 'accuracy/top1',
                'schedule/learning_rate'):
        assert steps[tag] == [1, 2, 3, 4, 5]
    assert steps['inputs/image/0'] == steps['weights/conv1/weights'] == [1, 4]


def test_the_speed_is_written_once_it_is_known(synthetic, tmp_path):
    networks.train(synthetic, tmp_path, 4, 'tiny', summary_steps=1, log_steps=2)
    steps = [event.step for event in processes.events(tmp_path)
             for value in event.summary.value if value.tag == 'speed/images_per_second']
    assert steps == [2, 3, 4]


@pytest.mark.parametrize('is_clock_set_back', [False, True])
def test_tensorboard_shows_each_step_of_a_resumed_run_once(synthetic, tmp_path, is_clock_set_back):
    """The killed run had logged steps after its last checkpoint."""
    from tensorboard.backend.event_processing import event_accumulator
    options = {'save_steps': 4, 'summary_steps': 1, 'histogram_steps': 1000}
    networks.train(synthetic, tmp_path, 7, 'tiny', **options)
    for path in (tmp_path / 'train').glob('model.ckpt-7*'):
        path.unlink()  # as if it had been killed between steps 4 and 8
    if is_clock_set_back:
        path, = (tmp_path / 'train').glob('events*')
        path.rename(re.sub(r'tfevents\.\d+', 'tfevents.9000000000', str(path)))
    networks.train(synthetic, tmp_path, 12, 'tiny', resume=True, **options)
    events = event_accumulator.EventAccumulator(str(tmp_path / 'train')).Reload()
    assert [e.step for e in events.Scalars('loss/total')] == list(range(1, 13))
    assert events.Images('inputs/image/0') and events.Graph().node

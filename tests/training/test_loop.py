"""Training in real processes: what is saved, what is resumed, what stops it."""

import json
import os
import re
import shutil
import signal
import subprocess

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.config import Config
from permafrost.errors import UserError
from permafrost.recipes import durations, overrides
from permafrost.training import checkpoints
from permafrost.training.graph import build_train_graph
from tests import processes

tf.disable_v2_behavior()
tf.enable_resource_variables()


@pytest.fixture(scope='module')
def uninterrupted(synthetic, tmp_path_factory):
    """A deterministic run of 30 steps."""
    run = tmp_path_factory.mktemp('uninterrupted') / 'run'
    processes.finish(processes.training(synthetic, run, '--steps=30', '--deterministic'))
    return run


def test_deterministic_runs_are_bit_equal(synthetic, tmp_path, uninterrupted):
    processes.finish(processes.training(synthetic, tmp_path, '--steps=30', '--deterministic'))
    again, first = processes.losses(tmp_path), processes.losses(uninterrupted)
    assert sorted(first) == list(range(1, 31))
    assert again == first


def test_another_seed_gives_other_losses(synthetic, tmp_path, uninterrupted):
    processes.finish(processes.training(
        synthetic, tmp_path, '--steps=2', '--deterministic', '--seed=2'))
    assert processes.losses(tmp_path)[1] != processes.losses(uninterrupted)[1]


@pytest.mark.parametrize('number, code', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_resuming_continues_to_the_bit(
        synthetic, tmp_path, uninterrupted, number, code):
    arguments = processes.training(synthetic, tmp_path, '--steps=30', '--deterministic')
    returned, output = processes.interrupt(arguments, r'^step 11/', number)
    assert returned == code, output
    stopped = max(checkpoints.list_checkpoints(str(tmp_path)))
    assert 11 <= stopped < 30
    assert 'stopped at step %d' % stopped in output
    assert runs.read_status(str(tmp_path))['state'] == 'stopped'
    output = processes.finish(arguments + ['--resume'])
    assert 'resuming at step %d' % stopped in output
    assert 'step %d/30' % (stopped + 1) in output
    assert processes.losses(tmp_path) == processes.losses(uninterrupted)


def test_sigkill_loses_no_more_than_the_save_interval(synthetic, tmp_path, uninterrupted):
    arguments = processes.training(synthetic, tmp_path, '--steps=30', '--deterministic',
                                   '--save_steps=5')
    returned, output = processes.interrupt(arguments, r'^step 18/', signal.SIGKILL)
    assert returned == -signal.SIGKILL
    reached = max(int(step) for step in re.findall(r'^step (\d+)/', output, re.M))
    saved = max(checkpoints.list_checkpoints(str(tmp_path)))
    assert reached - saved <= 5
    processes.finish(arguments + ['--resume'])
    # The log of a killed run may lack its last points: those that are there are the same.
    whole, curve = processes.losses(uninterrupted), processes.losses(tmp_path)
    assert curve == {step: whole[step] for step in curve}
    assert set(range(saved + 1, 31)) <= set(curve)


def test_sigterm_while_starting_exits_at_once(synthetic, tmp_path):
    returned, output = processes.interrupt(
        processes.training(synthetic, tmp_path, '--steps=100000'), '^run: ')
    assert returned == 143, output
    assert 'Traceback' not in output


def test_what_a_run_directory_holds(synthetic, uninterrupted):
    run = str(uninterrupted)
    config, extra = runs.read_config(run)
    assert config.model == 'squeeze1' and config.steps == 30 and config.recipe.batch_size == 16
    assert extra['classes'] == list(synthetic.classes)
    assert extra['versions'][0]['tensorflow'] == tf.__version__
    status = runs.read_status(run)
    assert status['state'] == 'done' and status['step'] == 30 and status['train_seconds'] > 0
    assert sorted(checkpoints.list_checkpoints(run)) == [0, 30]
    with open(os.path.join(run, 'train', 'checkpoint')) as stream:
        assert '"model.ckpt-30"' in stream.read()  # relative: a moved directory works


def test_summaries(synthetic, tmp_path):
    processes.finish(processes.training(synthetic, tmp_path, '--steps=4', '--histogram_steps=4'))
    tags, graph = {}, False
    for name in os.listdir(str(tmp_path / 'train')):
        if name.startswith('events'):
            for event in tf.train.summary_iterator(str(tmp_path / 'train' / name)):
                graph |= bool(event.graph_def)
                for value in event.summary.value:
                    tags.setdefault(value.tag, []).append(event.step)
    assert graph
    for tag in ('loss', 'cross_entropy', 'weight_decay', 'accuracy', 'learning_rate'):
        assert tags[tag] == [1, 2, 3, 4]
    assert tags['images_per_second'] and tags['images/image/0'] == [1, 4]
    assert tags['histograms/conv1/weights'] == [1, 4]


def test_tensorboard_reads_a_resumed_run(synthetic, tmp_path):
    """Each step once, though the killed run had logged steps past its last checkpoint."""
    from tensorboard.backend.event_processing import event_accumulator
    arguments = processes.training(synthetic, tmp_path, '--steps=12', '--save_steps=4')
    processes.finish(arguments + ['--steps=7'])
    for path in (tmp_path / 'train').glob('model.ckpt-7*'):
        path.unlink()  # as if it had been killed between steps 4 and 8
    output = processes.finish(arguments + ['--resume'])
    assert 'resuming at step 4' in output
    events = event_accumulator.EventAccumulator(str(tmp_path / 'train')).Reload()
    assert [e.step for e in events.Scalars('loss')] == list(range(1, 13))
    assert events.Images('images/image/0') and events.Graph().node


def test_checkpoints_by_steps_and_how_many_are_kept(synthetic, tmp_path):
    processes.finish(processes.training(
        synthetic, tmp_path, '--steps=9', '--save_steps=2', '--max_to_keep=3'))
    assert sorted(checkpoints.list_checkpoints(str(tmp_path))) == [6, 8, 9]
    processes.finish(processes.training(synthetic, tmp_path, '--steps=11', '--resume'))
    assert sorted(checkpoints.list_checkpoints(str(tmp_path))) == [9, 10, 11]  # older ones count


def test_checkpoints_by_seconds(synthetic, tmp_path):
    processes.finish(processes.training(
        synthetic, tmp_path, '--steps=400', '--save_steps=0', '--save_secs=1', '--max_to_keep=0'))
    assert len(checkpoints.list_checkpoints(str(tmp_path))) > 2  # more than the first and the last


def test_a_finished_run_is_left_alone_and_can_be_trained_on(synthetic, tmp_path):
    arguments = processes.training(synthetic, tmp_path, '--steps=3')
    processes.finish(arguments)
    assert 'nothing to do' in processes.finish(arguments + ['--resume'])
    (tmp_path / 'status.json').unlink()  # as where config.json and train/ were copied
    for ending in ('index', 'data-00000-of-00001'):
        shutil.copy(str(tmp_path / 'train' / ('model.ckpt-3.' + ending)),
                    str(tmp_path / 'train' / ('model.ckpt-3-best.' + ending)))
    output = processes.finish(arguments + ['--resume', '--steps=5', '--save_steps=1'])
    assert 'resuming at step 3' in output and 'done at step 5' in output
    for path in (tmp_path / 'train').glob('model.ckpt-*'):
        path.unlink()
    assert 'done at step 3' in processes.finish(arguments + ['--resume'])


def test_a_damaged_checkpoint_is_named_and_the_one_before_serves(synthetic, tmp_path):
    arguments = processes.training(synthetic, tmp_path, '--steps=6', '--save_steps=3')
    processes.finish(arguments)
    data, = (tmp_path / 'train').glob('model.ckpt-6.data*')
    data.write_bytes(data.read_bytes()[:-200] + b'x' * 200)
    arguments += ['--resume', '--steps=8']
    assert 'model.ckpt-6 is damaged' in processes.finish(arguments, 1)
    for path in (tmp_path / 'train').glob('model.ckpt-6.*'):
        path.unlink()
    assert 'resuming at step 3' in processes.finish(arguments)


def test_divergence_stops_and_keeps_finite_weights(synthetic, tmp_path):
    output = processes.finish(processes.training(
        synthetic, tmp_path, '--steps=50', '--save_steps=1', '--set=learning_rate=1e20'), 1)
    assert re.search(r'error: not a finite number at step \d+, learning rate 1e\+20', output)
    last, checkpoint = checkpoints.find_checkpoint(str(tmp_path))
    assert '(step %d)' % last in output
    reader = tf.train.load_checkpoint(checkpoint)
    for name in reader.get_variable_to_shape_map():
        assert np.isfinite(reader.get_tensor(name)).all(), name
    assert runs.read_status(str(tmp_path))['state'] == 'failed'


def test_two_trainings_never_share_a_run(tmp_path):
    with runs.lock(str(tmp_path)):
        assert runs.is_running(str(tmp_path))
        with pytest.raises(UserError, match='another process'):
            with runs.lock(str(tmp_path)):
                pass
    assert not runs.is_running(str(tmp_path))


def test_a_full_disk_is_one_line_and_loses_nothing(synthetic, tmp_path):
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip('mounting a small tmpfs takes root')
    try:
        run = tmp_path / 'run'
        output = processes.finish(processes.training(
            synthetic, run, '--steps=1000', '--save_steps=5', '--max_to_keep=0'), 1)
        assert 'error: cannot write to %s' % run in output and 'make room' in output
        step, checkpoint = checkpoints.find_checkpoint(str(run))
        tf.train.load_checkpoint(checkpoint).get_tensor('conv1/weights')
        assert '%d' % step in output
        assert not [n for n in os.listdir(str(run / 'train')) if 'temp' in n]
    finally:
        subprocess.run(['umount', '-l', str(tmp_path)], check=True)


def _config(**fields):
    return Config('tuto', overrides.get_recipe('tutorial', fields.pop('changes', ())), 10, **fields)


def test_weight_decay_and_averages_as_published():
    """Against NumPy: wd / size * sum(v^2) / 2 on fc1 and fc2; averages of (1 + n) / (10 + n)."""
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.random.stateless_normal([8, 24, 24, 3], [1, 2])
        graph = build_train_graph(_config(), 10, images, tf.range(8, dtype=tf.int64))
        session.run(tf.global_variables_initializer())
        variables = {v.op.name: v for v in tf.global_variables()}
        expected = averages = None
        for step in range(3):
            before = session.run(variables)
            decay, loss, parts = session.run([
                graph.scalars['weight_decay'], graph.scalars['loss'],
                graph.scalars['cross_entropy']])
            expected = sum(500. / before[n].size * np.sum(before[n].astype(float) ** 2) / 2
                           for n in ('fc1/weights', 'fc2/weights'))
            np.testing.assert_allclose(decay, expected, rtol=1e-5)
            np.testing.assert_allclose(loss, decay + parts, rtol=1e-6)
            _, seen = session.run([graph.train, graph.step])
            assert seen == step + 1
            after = session.run(variables)
            rate = min(0.9999, (1. + seen) / (10. + seen))
            for name, value in before.items():
                if name.endswith('/ExponentialMovingAverage'):
                    raw = after[name[:-len('/ExponentialMovingAverage')]]
                    averages = rate * value + (1 - rate) * raw
                    np.testing.assert_allclose(after[name], averages, rtol=1e-4, atol=1e-6)
        assert averages is not None


def test_plain_sgd_makes_the_published_update():
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.random.stateless_normal([8, 24, 24, 3], [1, 2])
        graph = build_train_graph(_config(), 10, images, tf.range(8, dtype=tf.int64))
        bias = [v for v in tf.trainable_variables() if v.op.name == 'logits/biases'][0]
        gradient = tf.gradients(graph.scalars['loss'], bias)[0]
        session.run(tf.global_variables_initializer())
        before, slope = session.run([bias, gradient])
        session.run(graph.train)
        np.testing.assert_allclose(session.run(bias), before - 0.1 * slope, rtol=1e-5, atol=1e-7)


def test_config_goes_through_json():
    config = _config(seed=3, changes=('augmentation=crop,flip', 'learning_rate=0.05'))
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert config.recipe.augmentation == ('crop', 'flip') and config.recipe.learning_rate == 0.05


def test_steps_follow_from_images():
    assert durations.num_steps(overrides.get_recipe('tutorial')) == 10000
    assert durations.num_steps(overrides.get_recipe('tutorial', ['batch_size=1000', 'images=2001'])) == 3

"""Recipes: that all of them train, are listed, are drawn, and go on to the bit."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image

import models
from permafrost.config import Config
from permafrost.datasets import registry
from permafrost.evaluation import inference_graph
from permafrost.inputs import augmentation
from permafrost.recipes import catalog, durations, overrides, schedules
from permafrost.training import checkpoints, graph
from permafrost.training.graph import build_train_graph
from tests import networks, processes
from tests.export import graphs

tf.disable_v2_behavior()
tf.enable_resource_variables()


def test_every_model_has_a_recipe_that_is_known():
    for model in models.MODELS:
        assert catalog.default_recipe(model) in catalog.RECIPES
    assert set(catalog.DEFAULT_RECIPES) <= set(models.MODELS)


@pytest.mark.parametrize('name', sorted(catalog.RECIPES))
def test_recipes_are_whole(name):
    recipe = overrides.get_recipe(name)
    settings = Config('tuto', recipe, 1)
    schedules.schedule(recipe.schedule, durations.num_epochs(settings))
    first = recipe.about.splitlines()[0]
    assert first.endswith('.') and len(first) < 100
    assert '`python train.py --model ' in recipe.about and 'ccuracy' in recipe.about
    assert durations.num_steps(recipe) > 0 and recipe.decay_mode in graph.WEIGHT_DECAY_MODES
    value = json.loads(json.dumps(Config('tuto', recipe, 3).to_json()))
    assert Config.from_json(value).recipe == recipe


@pytest.mark.parametrize('model', networks.EVERY)
def test_every_model_trains_with_its_recipe_and_is_evaluated(model, tmp_path):
    recipe = overrides.with_supported_precision(overrides.get_recipe(catalog.default_recipe(model), ['batch_size=8']))
    size, random = recipe.image_size, np.random.RandomState(0)
    images = random.randn(8, size, size, 3).astype(np.float32)
    statistics = graphs.STATISTICS.get(recipe.standardize, ())
    settings = Config(model, recipe, 50, train_images=40, statistics=statistics)
    path = str(tmp_path / 'model.ckpt')
    with tf.Graph().as_default(), tf.Session() as session:
        graph = build_train_graph(
            settings, 10, tf.constant(images), tf.constant(random.randint(10, size=8), tf.int64),
            sample=lambda: random.randn(64, size, size, 3).astype(np.float32))
        session.run(tf.global_variables_initializer())
        trained = {v.op.name: v for v in tf.trainable_variables()}
        before = session.run(trained)
        for _ in range(2):  # the first may be at a rate of 0
            scalars = session.run(dict(graph.scalars, train=graph.train))
        after = session.run(trained)
        tf.train.Saver().save(session, path, write_meta_graph=False)
    assert np.isfinite(scalars['loss'])
    assert [name for name in trained if np.array_equal(before[name], after[name])] == []
    with tf.Graph().as_default(), tf.Session() as session:
        inference = inference_graph.build_inference_graph(settings, registry.CIFAR10_CLASSES, registry.IMAGE_SHAPE)
        weights = inference_graph.default_weights(settings)
        tf.train.Saver(inference_graph.checkpoint_variable_map(settings, weights)).restore(session, path)
        logits = session.run(inference.predictions, {
            inference.images: random.randint(256, size=(2, 32, 32, 3))})
    assert np.isfinite(logits).all() and logits.std() > 0


def test_a_config_of_before_these_fields_still_loads():
    recipe = dict(name='tutorial', image_size=24, augmentation=['crop'], standardize='per_image',
                  batch_size=128, images=1280000, optimizer='sgd', learning_rate=0.1,
                  weight_decay=500., average_decay=0.9999)
    old = dict(model='tuto', recipe=recipe, steps=10, dataset='cifar10', data_dir=None,
               source='memory', seed=1, deterministic=False, save_steps=1000, save_secs=120,
               max_to_keep=5, summary_steps=100, histogram_steps=1000, log_steps=100,
               intra_op_threads=0, inter_op_threads=0)
    found = Config.from_json(old)
    assert found.recipe == dataclasses.replace(overrides.get_recipe('tutorial'), augmentation=('crop',))
    assert found.train_images == 50000 and found.statistics == ()


# One model for each way of training; all others differ from one of them in numbers alone.
@pytest.mark.parametrize('model, changes', [
    ('sprint', []), ('davidnet_tricks', ['average_epochs=0.4']), ('lenet5', ['optimizer=adam',
                                                                  'decay_mode=decoupled'])])
def test_an_interrupted_run_ends_with_the_very_weights(synthetic, tmp_path, model, changes):
    def train(run, *flags):
        processes.finish(processes.command(
            'train.py', '--model=' + model, '--data_set=synthetic', '--deterministic',
            '--data_dir=' + synthetic.directory, '--run=%s' % run, '--histogram_steps=0',
            '--set=batch_size=16', '--set=epochs=0.8', '--set=schedule=one_cycle 0.3',
            *(['--set=' + change for change in changes] + list(flags))))
        return tf.train.load_checkpoint(checkpoints.find_checkpoint(str(run))[1])
    whole = train(tmp_path / 'whole', '--steps=6')
    train(tmp_path / 'parts', '--steps=3')
    parts = train(tmp_path / 'parts', '--steps=6', '--resume')
    names = whole.get_variable_to_shape_map()
    assert len(names) > 10
    for name in names:
        np.testing.assert_array_equal(whole.get_tensor(name), parts.get_tensor(name), name)


def test_a_blank_rule_is_none():
    assert overrides.get_recipe('sprint', ['rules=conv decay=0, ']).rules == ('conv decay=0',)


def test_learning_shows(synthetic, tmp_path):
    """A whitened network with Muon learns the synthetic classes in forty steps."""
    output = processes.finish(processes.command(
        'train.py', '--model=sprint', '--data_set=synthetic', '--data_dir=' + synthetic.directory,
        '--run=%s' % (tmp_path / 'run'), '--set=batch_size=64', '--set=epochs=4',
        '--log_steps=10', '--histogram_steps=0'))
    assert "recipe: sprint (sprint's own), 40 steps" in output
    accuracy = float(output.split('step 40/40 accuracy ')[1].split()[0])
    assert accuracy > 0.5  # chance gives 0.1


def test_steps_that_are_not_those_of_the_schedule_are_told(synthetic, tmp_path):
    arguments = processes.command(
        'train.py', '--model=lenet5', '--data_set=synthetic', '--data_dir=' + synthetic.directory,
        '--run=%s' % (tmp_path / 'run'), '--histogram_steps=0', '--resume')
    assert ('note: --steps=2 stops in the middle of its schedule of 100 steps; --set epochs=0.4 '
            'would shorten it') in processes.finish(arguments + ['--steps=2'])
    output = processes.finish(arguments + ['--steps=101'])
    assert ('note: --steps=101 goes on after its schedule of 100 steps, at a learning rate of 0; '
            '--set epochs=20.2 in another run would lengthen it') in output


def test_recipes_are_listed(python):
    done = python('info.py', '--recipes')
    assert done.returncode == 0, done.stderr
    for name, recipe in catalog.RECIPES.items():
        assert recipe.about.splitlines()[0] in done.stdout and name in done.stdout
    value = json.loads(python('info.py', '--recipes', '--json').stdout)
    assert [row['recipe'] for row in value] == list(catalog.RECIPES)
    assert 'resnet56' in [row for row in value if row['recipe'] == 'resnet'][0]['models']
    assert python('info.py', '--recipes', '--all').returncode == 2


def test_schedules_are_drawn(tmp_path):
    done = subprocess.run(
        [sys.executable, processes.ROOT + '/train.py', '--recipe=davidnet_tricks', '--plot'],
        cwd=str(tmp_path), stdout=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0 and 'learning rate 0 to 1' in done.stdout
    drawn = Image.open(str(tmp_path / 'davidnet_tricks-learning-rate.png'))
    picture = np.asarray(drawn.convert('RGB'))
    curve = (picture == (20, 90, 180)).all(-1)
    rows, columns = np.nonzero(curve)
    peak = columns[rows == rows.min()].mean()
    left, right = columns.min(), columns.max()
    assert (peak - left) / (right - left) == pytest.approx(2 / 10, abs=0.01)


def test_augmentations_of_recipes_fit_their_images():
    for recipe in catalog.RECIPES.values():
        with tf.Graph().as_default():
            settings = Config('tuto', recipe, 1)
            statistics = {'per_channel': (1.,) * 6, 'per_pixel': (1.,) * 3073,
                          'yuv_local': (1.,) * 4}.get(settings.recipe.standardize, ())
            images = augmentation.preprocess_train(tf.zeros([4, 32, 32, 3], tf.uint8), recipe, 1, 0,
                                      statistics=statistics, turn=tf.zeros([4], tf.bool))
            assert images.shape.as_list() == [4, recipe.image_size, recipe.image_size, 3]

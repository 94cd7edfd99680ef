"""The catalog: every recipe is described, every model has one and trains with it."""

import os
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import models
from permafrost.config import Config
from permafrost.datasets import registry
from permafrost.errors import UserError
from permafrost.evaluation import inference_graph
from permafrost.experiments import results
from permafrost.inputs import augmentation, normalization
from permafrost.recipes import catalog, durations, overrides
from permafrost.training.graph import build_train_graph
from permafrost.training.optimization.optimizers import OPTIMIZERS
from tests import in_process, networks
from tests.export import helpers
from tests.processes import ROOT


def test_every_model_has_one_default_recipe():
    declared = [model for recipe in catalog.RECIPES.values() for model in recipe.default_for]
    assert sorted(declared) == sorted(models.MODELS), (
        'add a model to the default_for of one recipe in permafrost/recipes/catalog.py')
    for recipe in catalog.RECIPES.values():
        assert set(recipe.published) <= set(models.MODELS)
        assert all(published.source for published in recipe.published.values())


def test_the_published_accuracies_of_resnets_are_100_less_their_errors():
    """He et al. 2015 (https://arxiv.org/abs/1512.03385), table 6."""
    errors = {'resnet20': 8.75, 'resnet32': 7.51, 'resnet44': 7.17, 'resnet56': 6.97,
              'resnet110': 6.43}
    for recipe in catalog.RECIPES.values():
        for model in set(recipe.published) & set(errors):
            assert recipe.published[model].accuracy.split()[0] == f'{100 - errors[model]:.2f}'
    assert catalog.DEFAULT_RECIPES['squeeze1'] == 'squeeze'  # its best
    with pytest.raises(UserError, match='no_model has no default recipe'):
        catalog.default_recipe('no_model')


def test_the_recipe_decides_the_image_size_of_a_model():
    assert catalog.image_size('tuto') == 24
    assert catalog.image_size('cs231n') == catalog.image_size('sprint') == 32


def test_the_accuracy_of_a_description_is_that_of_the_model_in_its_command():
    recorded = {(result['model'], result['recipe'], f"{100 * result['accuracy']['mean']:.2f}")
                for result in results.load(os.path.join(ROOT, 'results'))}
    described = set()
    for name, recipe in catalog.RECIPES.items():
        model, = re.findall(r'permafrost train --model (\w+)', recipe.description)
        described |= {(model, name, accuracy)
                      for accuracy in re.findall(r'Accuracy: ([\d.]+)', recipe.description)}
        described |= {(other, name, accuracy) for other, accuracy in re.findall(
            r'(\w+): ([\d.]+) ', recipe.description) if other in models.ALL}
    assert described and described <= recorded


@pytest.mark.parametrize('name', sorted(catalog.RECIPES))
def test_recipes_are_complete(name):
    recipe = catalog.RECIPES[name]
    assert overrides.get_recipe(name) == recipe and recipe.name == name
    summary = recipe.description.splitlines()[0]
    assert summary.endswith('.') and len(summary) < 100
    assert '`bin/permafrost train --model ' in recipe.description
    assert 'ccuracy' in recipe.description
    assert durations.num_steps(recipe) > 0
    assert recipe.optimizer in OPTIMIZERS
    assert recipe.normalize in normalization.NORMALIZATIONS
    assert {text.split(':')[0] for text in recipe.augmentation} <= set(augmentation.AUGMENTATIONS)


@pytest.mark.parametrize('name', sorted(catalog.RECIPES))
def test_the_augmentation_of_a_recipe_fits_its_images(name, default_graph):
    recipe = catalog.RECIPES[name]
    images = augmentation.preprocess_train(
        tf.zeros([4, 32, 32, 3], tf.uint8), recipe, 1, 0,
        statistics=helpers.STATISTICS.get(recipe.normalize, ()), flip_now=tf.zeros([4], tf.bool))
    assert images.shape.as_list() == [4, recipe.image_size, recipe.image_size, 3]


# The deeper ones have the recipe and the layers of resnet20.
@pytest.mark.parametrize('model', [each for each in networks.EVERY
                                   if each.values[0] not in networks.DEEP])
def test_every_model_trains_with_its_recipe_and_is_evaluated(model, tmp_path):
    recipe = overrides.with_supported_precision(
        overrides.get_recipe(catalog.default_recipe(model), ['batch_size=8']))
    size, random = recipe.image_size, np.random.RandomState(0)
    images = random.randn(8, size, size, 3).astype(np.float32)
    config = Config(model, recipe, 50, train_images=40,
                    statistics=helpers.STATISTICS.get(recipe.normalize, ()))
    path = str(tmp_path / 'model.ckpt')
    with tf.Graph().as_default(), tf.Session() as session:
        graph = build_train_graph(
            config, 10, tf.constant(images), tf.constant(random.randint(10, size=8), tf.int64),
            sample_images=lambda: random.randn(64, size, size, 3).astype(np.float32))
        session.run(tf.global_variables_initializer())
        variables = {v.op.name: v for v in tf.trainable_variables()}
        before = session.run(variables)
        for _ in range(2):  # the first learning rate may be 0
            scalars = session.run(dict(graph.scalars, train=graph.train))
        after = session.run(variables)
        tf.train.Saver().save(session, path, write_meta_graph=False)
    assert np.isfinite(scalars['loss'])
    assert [name for name in variables if np.array_equal(before[name], after[name])] == []
    with tf.Graph().as_default(), tf.Session() as session:
        inference = inference_graph.build_inference_graph(
            config, registry.CIFAR10_CLASSES, registry.IMAGE_SHAPE)
        saved = inference_graph.checkpoint_variable_map(
            config, config.recipe.default_weights)
        tf.train.Saver(saved).restore(session, path)
        logits = session.run(inference.predictions, {
            inference.images: random.randint(256, size=(2, 32, 32, 3))})
    assert np.isfinite(logits).all() and logits.std() > 0


@pytest.mark.slow
def test_a_whitened_network_learns_with_muon_in_forty_steps(synthetic, tmp_path):
    result = in_process.run(
        'train.py', '--model=sprint', '--dataset=synthetic', f'--data_dir={synthetic.directory}',
        f'--run={tmp_path / "run"}', '--set=batch_size=16', '--set=epochs=1', '--log_steps=10',
        '--histogram_steps=0')
    assert result.code == 0, result
    accuracy = float(result.stdout.split('step 40/40 accuracy ')[1].split()[0])
    assert accuracy > 0.5  # chance gives 0.1

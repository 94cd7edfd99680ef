"""Standardizations and what they know of the training images, against NumPy."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import loading, registry
from permafrost.inputs import augmentation, normalization, statistics
from permafrost.recipes import catalog
from permafrost.recipes.recipe import Recipe

tf.disable_v2_behavior()
tf.enable_resource_variables()


@pytest.fixture(scope='module')
def images(synthetic):
    return loading.load(synthetic, 'train')[0].astype(float)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('PERMAFROST_CACHE', str(tmp_path))
    return tmp_path


def luma_and_colours(image):
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return (0.299 * red + 0.587 * green + 0.114 * blue,
            np.stack([-0.14713 * red - 0.28886 * green + 0.436 * blue,
                      0.615 * red - 0.51499 * green - 0.10001 * blue], -1))


def around(values):
    """Weighted means of 7x7 neighbourhoods, a place at a time."""
    found = np.zeros_like(values)
    for y in range(32):
        for x in range(32):
            rows, columns = np.mgrid[max(y - 3, 0):min(y + 4, 32), max(x - 3, 0):min(x + 4, 32)]
            weights = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 1.75 ** 2))
            found[y, x] = (values[rows, columns] * weights).sum() / weights.sum()
    return found


def slow_local(image, known):
    luma, colours = luma_and_colours(image)
    luma = luma - around(luma)
    deviation = np.sqrt(around(luma ** 2))
    luma = luma / np.maximum(deviation, deviation.mean())
    return np.concatenate([luma[..., None], (colours - known[:2]) / known[2:]], -1)


def slow(name, image, known):
    known = np.array(known)
    return {'per_channel': lambda: (image - known[:3]) / known[3:],
            'per_pixel': lambda: (image - known[:-1].reshape(32, 32, 3)) / known[-1],
            'yuv_local': lambda: slow_local(image, known)}[name]()


def test_statistics(synthetic, images):
    found = statistics.statistics('per_channel', synthetic)
    np.testing.assert_allclose(
        found, np.concatenate([images.mean((0, 1, 2)), images.std((0, 1, 2))]), atol=1e-3)
    found = statistics.statistics('per_pixel', synthetic)
    mean = images.mean(0)
    np.testing.assert_allclose(found, np.append(mean.ravel(), (images - mean).std()), atol=1e-2)
    colours = luma_and_colours(images)[1]
    np.testing.assert_allclose(
        statistics.statistics('yuv_local', synthetic),
        np.concatenate([colours.mean((0, 1, 2)), colours.std((0, 1, 2))]), atol=1e-3)
    assert statistics.statistics('per_image', synthetic) == ()


def test_statistics_are_computed_once(synthetic, cache, monkeypatch):
    first = statistics.statistics('per_channel', synthetic)
    assert len(os.listdir(str(cache / 'statistics'))) == 1
    monkeypatch.setattr(registry, 'decode', None)  # what is cached needs no image
    assert statistics.statistics('per_channel', synthetic) == first


@pytest.mark.parametrize('name', sorted(statistics.STATISTICS))
def test_standardization_is_that_of_numpy(name, synthetic, images):
    known = statistics.statistics(name, synthetic)
    recipe = Recipe('test', 32, standardize=name)
    with tf.Graph().as_default(), tf.Session() as session:
        seen = session.run(augmentation.preprocess_eval(
            tf.constant(images[:2].astype(np.uint8)), recipe, known))
    np.testing.assert_allclose(seen, [slow(name, image, known) for image in images[:2]],
                               rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name', normalization.WHOLE)
def test_what_needs_the_whole_image_comes_before_the_crop(name, synthetic, images):
    known = statistics.statistics(name, synthetic)
    recipe = Recipe('test', 24, standardize=name)
    with tf.Graph().as_default(), tf.Session() as session:
        few = tf.constant(images[:2].astype(np.uint8))
        centre, trained = session.run([augmentation.preprocess_eval(few, recipe, known),
                                       augmentation.preprocess_train(few, recipe, 1, 0, statistics=known)])
    np.testing.assert_allclose(centre, trained, atol=1e-5)
    np.testing.assert_allclose(centre[0], slow(name, images[0], known)[4:28, 4:28],
                               rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name', sorted(normalization.NORMALIZATIONS))
@pytest.mark.parametrize('kind', ['red', 'grey', 'black'])
def test_images_without_colours_stay_finite(name, kind, images):
    few = images[:50].copy()
    few[..., 1:] = {'red': 0, 'grey': few[..., :1], 'black': few[..., 1:]}[kind]
    few *= kind != 'black'
    known = np.round(statistics.STATISTICS[name]([few]), 4) if name != 'per_image' else ()
    with tf.Graph().as_default(), tf.Session() as session:
        seen = session.run(augmentation.preprocess_eval(
            tf.constant(few.astype(np.uint8)), Recipe('test', 32, standardize=name), known))
    assert np.isfinite(seen).all() and np.abs(seen).max() < 100


def test_every_standardization_is_tested():
    assert set(normalization.NORMALIZATIONS) == set(statistics.STATISTICS) | {'per_image'}
    for recipe in catalog.RECIPES.values():
        assert recipe.standardize in normalization.NORMALIZATIONS

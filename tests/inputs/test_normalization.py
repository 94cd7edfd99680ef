"""Normalizations and their statistics of the training images, against NumPy."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import loading, record_format
from permafrost.errors import UsageError, UserError
from permafrost.inputs import augmentation, normalization
from permafrost.recipes.recipe import Recipe
from tests.processes import ROOT

FITTED = sorted(set(normalization.NORMALIZATIONS) - {'per_image'})
BEFORE_CROP = [name for name in FITTED if normalization.NORMALIZATIONS[name].before_crop]


@pytest.fixture(scope='module')
def images(synthetic):
    return loading.load(synthetic, 'train')[0].astype(float)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('PERMAFROST_CACHE', str(tmp_path))
    return tmp_path


@pytest.mark.parametrize('name, count', [('per_channel', 6), ('per_pixel', 3073), ('yuv_local', 4)])
def test_a_wrong_number_of_statistics_is_refused(name, count, default_graph):
    pixels = tf.zeros([2, 32, 32, 3], tf.uint8)
    for wrong in (0, count - 1, count + 1):
        with pytest.raises(UserError, match=f'has {wrong} statistics of its images, not {count}:'):
            normalization.create(name, (1.,) * wrong).apply(pixels)
    normalization.create(name, (1.,) * count).apply(pixels)


@pytest.mark.parametrize('damage', [
    '', '[1, 2', '[1]', '{}', '["a", "b", "c", "d", "e", "f"]', '[1, 2, 3, 4, 5, NaN]', 'null'])
def test_a_damaged_cache_is_made_again(synthetic, cache, damage):
    statistics = normalization.fit('per_channel', synthetic)
    path, = (cache / 'statistics').iterdir()
    path.write_text(damage)
    assert normalization.fit('per_channel', synthetic) == statistics


def luma_and_chroma(image):
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return (0.299 * red + 0.587 * green + 0.114 * blue,
            np.stack([-0.14713 * red - 0.28886 * green + 0.436 * blue,
                      0.615 * red - 0.51499 * green - 0.10001 * blue], -1))


def slow_local_mean(values):
    """Return the weighted means of 7x7 neighbourhoods, a pixel at a time."""
    means = np.zeros_like(values)
    for y in range(32):
        for x in range(32):
            rows, columns = np.mgrid[max(y - 3, 0):min(y + 4, 32), max(x - 3, 0):min(x + 4, 32)]
            weights = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 1.75 ** 2))
            means[y, x] = (values[rows, columns] * weights).sum() / weights.sum()
    return means


def slow_yuv_local(image, statistics):
    luma, chroma = luma_and_chroma(image)
    luma = luma - slow_local_mean(luma)
    deviation = np.sqrt(slow_local_mean(luma ** 2))
    luma = luma / np.maximum(deviation, deviation.mean())
    return np.concatenate([luma[..., None], (chroma - statistics[:2]) / statistics[2:]], -1)


def slow_normalize(name, image, statistics):
    statistics = np.array(statistics)
    if name == 'per_channel':
        return (image - statistics[:3]) / statistics[3:]
    if name == 'per_pixel':
        return (image - statistics[:-1].reshape(32, 32, 3)) / statistics[-1]
    return slow_yuv_local(image, statistics)


def test_statistics_are_those_of_numpy(synthetic, images):
    np.testing.assert_allclose(
        normalization.fit('per_channel', synthetic),
        np.concatenate([images.mean((0, 1, 2)), images.std((0, 1, 2))]), atol=1e-3)
    mean = images.mean(0)
    np.testing.assert_allclose(normalization.fit('per_pixel', synthetic),
                               np.append(mean.ravel(), (images - mean).std()), atol=1e-2)
    chroma = luma_and_chroma(images)[1]
    np.testing.assert_allclose(
        normalization.fit('yuv_local', synthetic),
        np.concatenate([chroma.mean((0, 1, 2)), chroma.std((0, 1, 2))]), atol=1e-3)
    assert normalization.fit('per_image', synthetic) == ()


def test_statistics_are_computed_once(synthetic, cache, monkeypatch):
    first = normalization.fit('per_channel', synthetic)
    assert len(os.listdir(str(cache / 'statistics'))) == 1
    monkeypatch.setattr(record_format, 'decode', None)  # with the cache no image is needed
    assert normalization.fit('per_channel', synthetic) == first


def test_a_cache_that_cannot_be_used_is_no_error(synthetic, cache, monkeypatch):
    (cache / 'file').write_text('')
    monkeypatch.setenv('PERMAFROST_CACHE', str(cache / 'file'))
    assert len(normalization.fit('per_channel', synthetic)) == 6


def test_fitting_does_not_import_tensorflow():
    """Its threads are chosen after the statistics have been computed."""
    program = ('import sys; import permafrost.inputs.normalization; '
               'sys.exit("tensorflow" in sys.modules)')
    assert subprocess.run([sys.executable, '-c', program], cwd=ROOT).returncode == 0


@pytest.mark.parametrize('name', FITTED)
def test_each_normalization_is_that_of_numpy(name, synthetic, images, default_graph):
    statistics = normalization.fit(name, synthetic)
    inputs = augmentation.preprocess_eval(
        tf.constant(images[:2].astype(np.uint8)), Recipe('test', 32, normalize=name), statistics)
    with tf.Session() as session:
        values = session.run(inputs)
    expected = [slow_normalize(name, image, statistics) for image in images[:2]]
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name', BEFORE_CROP)
def test_what_needs_the_whole_image_comes_before_the_crop(name, synthetic, images, default_graph):
    statistics = normalization.fit(name, synthetic)
    recipe = Recipe('test', 24, normalize=name)
    batch = tf.constant(images[:2].astype(np.uint8))
    with tf.Session() as session:
        evaluated, trained = session.run([
            augmentation.preprocess_eval(batch, recipe, statistics),
            augmentation.preprocess_train(batch, recipe, 1, 0, statistics=statistics)])
    np.testing.assert_allclose(evaluated, trained, atol=1e-5)
    expected = slow_normalize(name, images[0], statistics)[4:28, 4:28]
    np.testing.assert_allclose(evaluated[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name', sorted(normalization.NORMALIZATIONS))
@pytest.mark.parametrize('kind', ['red', 'grey', 'black'])
def test_images_without_colours_stay_finite(name, kind, images, default_graph):
    batch = images[:50].copy()
    batch[..., 1:] = {'red': 0, 'grey': batch[..., :1], 'black': batch[..., 1:]}[kind]
    batch *= kind != 'black'
    statistics = np.round(normalization.NORMALIZATIONS[name].fit([batch]), 4)
    inputs = augmentation.preprocess_eval(
        tf.constant(batch.astype(np.uint8)), Recipe('test', 32, normalize=name), statistics)
    with tf.Session() as session:
        values = session.run(inputs)
    assert np.isfinite(values).all() and np.abs(values).max() < 100


def test_an_unknown_normalization_is_refused():
    with pytest.raises(UsageError, match='did you mean per_image'):
        normalization.create('per_imag')


@pytest.mark.parametrize('name', FITTED)
def test_statistics_leave_out_what_is_held_out(synthetic, cache, name):
    whole = normalization.fit(name, synthetic)
    data = loading.hold_out(synthetic, 600, 1)
    left = loading.load(data, 'train')[0].astype(float)
    expected = normalization.NORMALIZATIONS[name].fit([left])
    assert normalization.fit(name, data) == pytest.approx(expected, abs=1e-3)
    assert normalization.fit(name, data) != whole  # from the cache
    assert normalization.fit(name, synthetic) == whole
    assert len(list((cache / 'statistics').iterdir())) == 2

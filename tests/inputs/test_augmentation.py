"""Augmentation against NumPy, an image at a time; and whether chance is what it should be."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError, UserError
from permafrost.inputs import augmentation
from permafrost.inputs.augmentation import apply_params, preprocess_train, sample_params
from permafrost.recipes import catalog
from permafrost.recipes.recipe import Recipe

tf.disable_v2_behavior()
tf.enable_resource_variables()

ALL = ('crop', 'flip', 'brightness', 'contrast')
IMAGES = np.random.RandomState(0).randint(0, 256, (64, 32, 32, 3)).astype(np.uint8)


KNOWN = (125., 123., 114., 63., 62., 67.)  # of per_channel


def recipe(augmentation=(), image_size=24, standardize='per_image'):
    return Recipe('test', image_size, augmentation, standardize)


def seen(augmentation, turn=None):
    """IMAGES as a network sees them in training, standardized per channel."""
    return run(lambda: preprocess_train(
        tf.constant(IMAGES), recipe(augmentation, 32, 'per_channel'), 3, 5,
        statistics=KNOWN, turn=False if turn is None else tf.constant(turn)))


def by_channel(images):
    return (images - np.array(KNOWN[:3])) / np.array(KNOWN[3:])


def run(make):
    """The values of the tensors that `make` builds in a graph of its own."""
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.nest.map_structure(tf.convert_to_tensor, make()))


def draw(count, augmentation=ALL, seed=1, step=0):
    """The Distortion, in NumPy, of `count` images of 32x32 cut to 24x24."""
    return run(lambda: sample_params(tf.zeros([count, 32, 32, 3], tf.uint8),
                                      recipe(augmentation), seed, step))


def slow_distortion(image, corner, mirror, contrast, brightness, size):
    top, left = corner.astype(int)
    image = image[top:top + size, left:left + size].astype(np.float64)
    if mirror:
        image = image[:, ::-1]
    mean = image.mean((0, 1))
    return (image - mean) * contrast + mean + brightness


def slow_standardization(image):
    image = image.astype(np.float64)
    return (image - image.mean()) / max(image.std(), 1 / np.sqrt(image.size))


@pytest.mark.parametrize('augmentation', [(name,) for name in ALL] + [(), ALL, ALL[::-1]])
def test_each_augmentation_is_that_of_numpy(augmentation):
    def make():
        images = tf.constant(IMAGES)
        chosen = sample_params(images, recipe(augmentation), 3, 5)
        return chosen, apply_params(images, chosen, 24), preprocess_train(
            images, recipe(augmentation), 3, 5)
    chosen, distorted, standardized = run(make)
    count = len(IMAGES)
    expected = np.stack([
        slow_distortion(image, corner, mirror, contrast, brightness, 24)
        for image, corner, mirror, contrast, brightness in zip(
            IMAGES, chosen.corner, chosen.mirror[:, 0],
            *(np.broadcast_to(value, (count, 1))[:, 0]
              for value in (chosen.contrast, chosen.brightness)))])
    np.testing.assert_allclose(distorted, expected, atol=1e-3)
    np.testing.assert_allclose(
        standardized, [slow_standardization(image) for image in expected], atol=1e-4)
    assert standardized.dtype == np.float32
    # What is not asked for does not happen.
    assert ('crop' in augmentation) == (np.unique(chosen.corner, axis=0).shape[0] > 1)
    assert ('flip' in augmentation) == chosen.mirror.any()
    assert ('contrast' in augmentation) == (np.std(chosen.contrast) > 0)
    assert ('brightness' in augmentation) == (np.std(chosen.brightness) > 0)


@pytest.mark.parametrize('side,size', [
    (32, 24), (40, 32), (38, 32), (34, 32), (33, 32), (32, 32), (64, 56), (64, 57), (72, 64),
    (9, 1)])
def test_crops_are_slices_to_the_bit(side, size):
    places = np.array([(top, left) for top in range(side - size + 1)
                       for left in range(side - size + 1)] * 2)
    mirror = np.arange(len(places)) < len(places) // 2
    images = np.random.RandomState(1).randint(0, 256, (len(places), side, side, 3))
    images = images.astype(np.uint8)

    def fed(value, dtype):  # as in training: what divides constants rounds otherwise
        return tf.placeholder_with_default(np.array(value, dtype), value.shape)
    cut = run(lambda: augmentation.apply_params(fed(images, np.uint8), augmentation.AugmentParams(
        fed(places, np.float32), fed(mirror[:, None], bool)), size))
    for image, (top, left), mirrored, found in zip(images, places, mirror, cut):
        piece = image[top:top + size, left:left + size]
        np.testing.assert_array_equal(found, piece[:, ::-1] if mirrored else piece)


def test_places_are_equally_likely():
    count = 40500
    corner = draw(count).corner
    assert set(corner.ravel()) == set(range(9))
    places = np.bincount((corner[:, 0] * 9 + corner[:, 1]).astype(int), minlength=81)
    # Chi squared of 80 degrees of freedom: 125 is passed once in a thousand seeds.
    assert ((places - count / 81) ** 2 / (count / 81)).sum() < 125


@pytest.mark.parametrize('pixels, size, offsets', [
    (2, 24, range(2, 7)), (0, 24, [4]), (3, 25, range(0, 7)), (9, 24, range(9)), (1, 32, [0])])
def test_crops_near_the_centre(pixels, size, offsets):
    def make():
        images = tf.zeros([2000, 32, 32, 3], tf.uint8)
        return augmentation.sample_params(images, recipe(('crop:%d' % pixels,), size), 3, 5).corner
    assert set(run(make).ravel()) == set(offsets)


def test_values_are_uniform_and_independent():
    count = 40000
    drawn = draw(count)
    values = {'mirror': drawn.mirror[:, 0], 'brightness': (drawn.brightness[:, 0] + 63) / 126,
              'contrast': (drawn.contrast[:, 0] - 0.2) / 1.6,
              'top': drawn.corner[:, 0], 'left': drawn.corner[:, 1]}
    assert abs(values['mirror'].mean() - 0.5) < 4 * 0.5 / np.sqrt(count)
    for name in ('brightness', 'contrast'):
        ordered = np.sort(values[name])
        assert ordered[0] >= 0 and ordered[-1] <= 1
        # Kolmogorov and Smirnov: 1.95 / sqrt(n) is passed once in a thousand seeds.
        assert np.abs(ordered - np.linspace(0, 1, count)).max() < 1.95 / np.sqrt(count)
    related = np.corrcoef([value.astype(float) for value in values.values()])
    assert np.abs(related - np.eye(len(values))).max() < 0.02


def test_random_numbers_follow_seed_and_step_alone():
    first = draw(64, step=7)
    for again in (draw(64, step=7), draw(64, ALL[::-1], step=7)):
        for one, other in zip(first, again):
            np.testing.assert_array_equal(one, other)
    for other in (draw(64, step=8), draw(64, seed=2, step=7)):
        assert all((one != another).any() for one, another in zip(first[:4], other))


def test_evaluation_is_that_of_numpy():
    images = IMAGES.copy()
    images[0] = 0
    images[1] = 255
    images[2] = 250
    images[2, 16, 16] = 251  # a deviation below 1 / sqrt(n) at most, and a large mean
    images[3] = 200 + images[3] % 2
    for size, edge in ((24, 4), (32, 0), (25, 3)):
        found = run(lambda size=size: augmentation.preprocess_eval(
            tf.constant(images), recipe(image_size=size)))
        expected = [slow_standardization(image[edge:edge + size, edge:edge + size])
                    for image in images]
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_evaluation_takes_any_number_of_images_with_plain_ops():
    with tf.Graph().as_default() as graph, tf.Session() as session:
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3])
        out = augmentation.preprocess_eval(images, recipe())
        assert out.shape.as_list() == [None, 24, 24, 3]
        for count in (0, 1, 5):
            assert len(session.run(out, {images: IMAGES[:count]})) == count
        whole = session.run(out, {images: IMAGES})
        alone = np.concatenate([session.run(out, {images: image[None]}) for image in IMAGES])
        np.testing.assert_allclose(whole, alone, atol=1e-5)
        assert {op.type for op in graph.get_operations()} <= {
            'Placeholder', 'Const', 'StridedSlice', 'Cast', 'Reshape', 'Pack', 'Mean', 'Sub',
            'Square', 'Sqrt', 'Maximum', 'RealDiv', 'Mul', 'Identity', 'Shape'}


def test_training_without_augmentation_is_evaluation():
    trained, evaluated = run(lambda: (augmentation.preprocess_train(tf.constant(IMAGES), recipe(), 1, 0),
                                      augmentation.preprocess_eval(tf.constant(IMAGES), recipe())))
    np.testing.assert_allclose(trained, evaluated, atol=1e-6)


def test_names_of_recipes_are_known():
    for known in catalog.RECIPES.values():
        assert {name.split(':')[0] for name in known.augmentation} <= set(augmentation.AUGMENTATIONS)
        assert known.standardize in augmentation.STANDARDIZE


@pytest.mark.parametrize('name, mode', [('pad_crop', 'constant'), ('reflect_crop', 'reflect')])
def test_images_are_moved_with_their_borders(name, mode):
    found = seen(('%s:3' % name,))
    padded = by_channel(np.pad(IMAGES, [(0, 0), (3, 3), (3, 3), (0, 0)], mode))
    places = []
    for image, whole in zip(found, padded):
        fits = [(y, x) for y in range(7) for x in range(7)
                if np.allclose(whole[y:y + 32, x:x + 32], image, atol=1e-4)]
        assert len(fits) == 1
        places += fits
    assert len(set(places)) > 25 and {y for y, _ in places} == {x for _, x in places} == set(
        range(7))


def test_the_mean_image_comes_in_where_it_was_subtracted():
    known = tuple(IMAGES.mean(0).ravel()) + (50.,)
    found = run(lambda: augmentation.preprocess_train(
        tf.constant(IMAGES), recipe(('pad_crop:30',), 32, 'per_pixel'), 3, 5,
        statistics=known))
    assert (found == 0).mean() > 0.3


def test_cutout():
    found, plain = seen(('cutout:8',)), by_channel(IMAGES.astype(float))
    corners = set()
    for image, whole in zip(found, plain):
        hole = (image == 0).all(-1)
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        np.testing.assert_array_equal(np.ptp(rows), 7)
        np.testing.assert_array_equal(np.ptp(columns), 7)
        assert hole.sum() == 64
        np.testing.assert_allclose(image[~hole], whole[~hole], atol=1e-4)
        corners.add((rows[0], columns[0]))
    assert len(corners) > 40 and max(map(max, corners)) == 24 and min(map(min, corners)) == 0


def test_turns_are_mirrored():
    turn = np.arange(64) % 3 == 0
    found = seen(('alternate_flip',), turn)
    plain = by_channel(IMAGES.astype(float))
    np.testing.assert_allclose(found, np.where(turn[:, None, None, None], plain[:, :, ::-1], plain),
                               atol=1e-4)
    with pytest.raises(UserError, match='--source=memory'):
        seen(('alternate_flip',))


@pytest.mark.parametrize('wrong, message', [
    (('flip:3',), 'it takes none'), (('cutout:x',), 'has a wrong number'),
    (('cutout:40',), 'does not fit'), (('cut_out',), 'did you mean cutout'),
    (('pad_crop:-1',), '0 or more'), (('pad_crop:inf',), '0 or more'), (('crop:-9',), '0 or more'),
    (('cutout:nan',), '0 or more'), (('reflect_crop:32',), 'out of sight')])
def test_numbers_of_augmentations(wrong, message):
    with pytest.raises(UsageError, match=message):
        seen(wrong)


@pytest.mark.parametrize('wrong,message', [
    (recipe(('crops',)), "unknown augmentation 'crops'; did you mean crop"),
    (recipe(standardize='per_imag'), 'did you mean per_image'),
    (recipe(image_size=33), 'image_size=33 cannot be cut from images of 32x32'),
    (recipe(('pad_crop:4',), image_size=33), 'image_size=33 cannot be cut from images of 32x32'),
    (recipe(image_size=0), 'image_size=0'),
])
def test_errors_name_what_is_wrong(wrong, message):
    with pytest.raises(UserError, match=message):
        run(lambda: augmentation.preprocess_train(tf.constant(IMAGES), wrong, 1, 0))

"""Preprocessing against NumPy, an image at a time; and the distribution of what is drawn."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError, UserError
from permafrost.inputs import augmentation
from permafrost.inputs.augmentation import Params, apply_params, preprocess_train, sample_params
from permafrost.recipes.recipe import Recipe

ALL = ('crop', 'flip', 'brightness', 'contrast')
IMAGES = np.random.RandomState(0).randint(0, 256, (64, 32, 32, 3)).astype(np.uint8)
STATISTICS = (125., 123., 114., 63., 62., 67.)  # of per_channel


def recipe(augmentation=(), image_size=24, normalize='per_image'):
    return Recipe('test', image_size, augmentation, normalize)


def augmented(augmentation, flip_now=None, image_size=32):
    """Return IMAGES as a network sees them in training, normalized per channel."""
    return run(lambda: preprocess_train(
        tf.constant(IMAGES), recipe(augmentation, image_size, 'per_channel'), 3, 5,
        statistics=STATISTICS, flip_now=None if flip_now is None else tf.constant(flip_now)))


def by_channel(images):
    return (images - np.array(STATISTICS[:3])) / np.array(STATISTICS[3:])


def run(build):
    """Return the values of the tensors that `build` returns, in a graph of their own."""
    with tf.Graph().as_default(), tf.Session() as session:
        return session.run(tf.nest.map_structure(tf.convert_to_tensor, build()))


def draw(count, augmentation=ALL, seed=1, step=0):
    """Return the Params, in NumPy, of `count` images of 32x32 cropped to 24x24."""
    return run(lambda: sample_params(tf.zeros([count, 32, 32, 3], tf.uint8),
                                     recipe(augmentation), seed, step, flip_now=tf.constant(0)))


def slow_augment(image, offset, flip, contrast, brightness, size):
    top, left = offset.astype(int)
    image = image[top:top + size, left:left + size].astype(np.float64)
    if flip:
        image = image[:, ::-1]
    mean = image.mean((0, 1))
    return (image - mean) * contrast + mean + brightness


def slow_normalize(image):
    image = image.astype(np.float64)
    return (image - image.mean()) / max(image.std(), 1 / np.sqrt(image.size))


@pytest.mark.parametrize('augmentation', [(name,) for name in ALL] + [(), ALL, ALL[::-1]])
def test_each_augmentation_is_that_of_numpy(augmentation):
    def build():
        images = tf.constant(IMAGES)
        params = sample_params(images, recipe(augmentation), 3, 5, flip_now=tf.constant(0))
        return params, apply_params(images, params, 24, 24), preprocess_train(
            images, recipe(augmentation), 3, 5)

    params, crops, normalized = run(build)
    count = len(IMAGES)
    contrast, brightness = (np.broadcast_to(value, (count, 1))[:, 0]
                            for value in (params.contrast, params.brightness))
    expected = np.stack([
        slow_augment(image, params.offset[i], params.flip[i, 0], contrast[i], brightness[i], 24)
        for i, image in enumerate(IMAGES)])
    np.testing.assert_allclose(crops, expected, atol=1e-3)
    np.testing.assert_allclose(
        normalized, [slow_normalize(image) for image in expected], atol=1e-4)
    assert normalized.dtype == np.float32
    # The recipe's augmentations happen, and no others.
    assert ('crop' in augmentation) == (np.unique(params.offset, axis=0).shape[0] > 1)
    assert ('flip' in augmentation) == params.flip.any()
    assert ('contrast' in augmentation) == (np.std(params.contrast) > 0)
    assert ('brightness' in augmentation) == (np.std(params.brightness) > 0)


@pytest.mark.parametrize('side,size', [
    (32, 24), (40, 32), (38, 32), (34, 32), (33, 32), (32, 32), (64, 56), (64, 57), (72, 64),
    (9, 1)])
def test_crops_are_slices_to_the_bit(side, size):
    offsets = np.array([(top, left) for top in range(side - size + 1)
                        for left in range(side - size + 1)] * 2)
    flips = np.arange(len(offsets)) < len(offsets) // 2
    images = np.random.RandomState(1).randint(0, 256, (len(offsets), side, side, 3))
    images = images.astype(np.uint8)

    def tensor(value, dtype):  # no constant, as in training: divisions by constants round otherwise
        return tf.placeholder_with_default(np.array(value, dtype), value.shape)

    crops = run(lambda: apply_params(tensor(images, np.uint8), Params(
        tensor(offsets, np.float32), tensor(flips[:, None], bool)), size, size))
    for image, (top, left), flipped, crop in zip(images, offsets, flips, crops):
        expected = image[top:top + size, left:left + size]
        np.testing.assert_array_equal(crop, expected[:, ::-1] if flipped else expected)


def test_offsets_are_equally_likely():
    count = 40500
    offset = draw(count).offset
    assert set(offset.ravel()) == set(range(9))
    counts = np.bincount((offset[:, 0] * 9 + offset[:, 1]).astype(int), minlength=81)
    # Chi squared of 80 degrees of freedom: one seed in a thousand exceeds 125.
    assert ((counts - count / 81) ** 2 / (count / 81)).sum() < 125


@pytest.mark.parametrize('pixels, size, offsets', [
    (2, 24, range(2, 7)), (0, 24, [4]), (3, 25, range(0, 7)), (9, 24, range(9)), (1, 32, [0])])
def test_crops_near_the_centre(pixels, size, offsets):
    def build():
        images = tf.zeros([2000, 32, 32, 3], tf.uint8)
        return sample_params(images, recipe((f'crop:{pixels}',), size), 3, 5).offset
    assert set(run(build).ravel()) == set(offsets)


def test_values_are_uniform_and_independent():
    count = 40000
    params = draw(count)
    values = {'flip': params.flip[:, 0], 'brightness': (params.brightness[:, 0] + 63) / 126,
              'contrast': (params.contrast[:, 0] - 0.2) / 1.6,
              'top': params.offset[:, 0], 'left': params.offset[:, 1]}
    assert abs(values['flip'].mean() - 0.5) < 4 * 0.5 / np.sqrt(count)
    for name in ('brightness', 'contrast'):
        ordered = np.sort(values[name])
        assert ordered[0] >= 0 and ordered[-1] <= 1
        # Kolmogorov and Smirnov: one seed in a thousand exceeds 1.95 / sqrt(n).
        assert np.abs(ordered - np.linspace(0, 1, count)).max() < 1.95 / np.sqrt(count)
    correlations = np.corrcoef([value.astype(float) for value in values.values()])
    assert np.abs(correlations - np.eye(len(values))).max() < 0.02


def test_random_numbers_depend_on_seed_and_step_alone():
    first = draw(64, step=7)
    for same in (draw(64, step=7), draw(64, ALL[::-1], step=7)):
        for value, expected in zip(same, first):
            np.testing.assert_array_equal(value, expected)
    for other in (draw(64, step=8), draw(64, seed=2, step=7)):
        assert all((a != b).any() for a, b in zip(first[:4], other))


def test_preprocessing_for_evaluation_is_that_of_numpy():
    images = IMAGES.copy()
    images[0] = 0
    images[1] = 255
    images[2] = 250
    images[2, 16, 16] = 251  # a deviation below 1 / sqrt(n) at most, and a large mean
    images[3] = 200 + images[3] % 2
    for size, edge in ((24, 4), (32, 0), (25, 3)):
        inputs = run(lambda size=size: augmentation.preprocess_eval(
            tf.constant(images), recipe(image_size=size)))
        expected = [slow_normalize(image[edge:edge + size, edge:edge + size])
                    for image in images]
        np.testing.assert_allclose(inputs, expected, atol=2e-4)


def test_evaluation_accepts_any_number_of_images_and_uses_plain_operations():
    with tf.Graph().as_default() as graph, tf.Session() as session:
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3])
        out = augmentation.preprocess_eval(images, recipe())
        assert out.shape.as_list() == [None, 24, 24, 3]
        for count in (0, 1, 5):
            assert len(session.run(out, {images: IMAGES[:count]})) == count
        together = session.run(out, {images: IMAGES})
        alone = np.concatenate([session.run(out, {images: image[None]}) for image in IMAGES])
        np.testing.assert_allclose(together, alone, atol=1e-5)
        assert {op.type for op in graph.get_operations()} <= {
            'Placeholder', 'Const', 'StridedSlice', 'Cast', 'Reshape', 'Pack', 'Mean', 'Sub',
            'Square', 'Sqrt', 'Maximum', 'RealDiv', 'Mul', 'Identity', 'Shape'}


def test_training_without_augmentation_is_evaluation():
    trained, evaluated = run(lambda: (preprocess_train(tf.constant(IMAGES), recipe(), 1, 0),
                                      augmentation.preprocess_eval(tf.constant(IMAGES), recipe())))
    np.testing.assert_allclose(trained, evaluated, atol=1e-6)


@pytest.mark.parametrize('augmentations, size', [
    (('crop', 'flip'), 24), (('pad_crop:4', 'flip'), 32), (('reflect_crop:2',), 28),
    ((), 24), (('crop', 'flip', 'contrast', 'brightness:9'), 24),
    (('crop', 'flip'), 27), (('crop',), 25)])
def test_a_teacher_that_crops_as_the_student_sees_the_same_pixels(augmentations, size):
    """Rounded to whole values; contrast is about the mean of the larger view."""
    images = (IMAGES // 4 + 96).astype(np.uint8)  # far from 0 and 255, where views are clipped
    settings = recipe(augmentations, size, 'per_channel')
    student, view = run(lambda: [
        preprocess_train(tf.constant(images), settings, 3, 5, statistics=STATISTICS),
        augmentation.teacher_view(tf.constant(images), settings, 3, 5)])
    teacher = run(lambda: augmentation.preprocess_eval(tf.constant(view), settings, STATISTICS))
    assert view.shape == images.shape and view.dtype == np.uint8
    difference = np.abs(student - teacher) * np.array(STATISTICS[3:])
    assert difference.max() < (6 if 'contrast' in augmentations else 1e-3)
    assert np.abs(student).mean() > 0.2  # so the bound of 6 of 255 says something


def test_a_teacher_of_whole_images_sees_around_the_crop_what_is_there():
    """Of a crop at the top left, four rows and columns beyond the image, mirrored."""
    params = [draw(64, ('crop',), 3, step) for step in range(3)]
    views = [run(lambda step=step: augmentation.teacher_view(
        tf.constant(IMAGES), recipe(('crop',)), 3, step)) for step in range(3)]
    for drawn, seen in zip(params, views):
        for image, offset, view in zip(IMAGES, drawn.offset, seen):
            padded = np.pad(image, [(4, 4), (4, 4), (0, 0)], 'reflect')
            top, left = offset.astype(int)
            np.testing.assert_array_equal(view, padded[top:top + 32, left:left + 32])


def test_a_teacher_sees_images_that_are_not_square():
    view = run(lambda: augmentation.teacher_view(
        tf.constant(IMAGES[:, :26]), recipe(('flip',)), 1, 0))
    assert view.shape == (64, 26, 32, 3)
    for image, seen in zip(IMAGES[:, :26], view):
        assert (seen == image).all() or (seen == image[:, ::-1]).all()


@pytest.mark.parametrize('name, mode', [('pad_crop', 'constant'), ('reflect_crop', 'reflect')])
@pytest.mark.parametrize('image_size', [32, 28])
def test_images_are_moved_with_their_borders(name, mode, image_size):
    """By up to 3 pixels from the centre, however large the part is that the network sees."""
    padded = by_channel(np.pad(IMAGES, [(0, 0), (3, 3), (3, 3), (0, 0)], mode))
    offsets, places = [], range(32 + 6 - image_size + 1)
    for image, source in zip(augmented((f'{name}:3',), image_size=image_size), padded):
        matches = [(y, x) for y in places for x in places if np.allclose(
            source[y:y + image_size, x:x + image_size], image, atol=1e-4)]
        assert len(matches) == 1
        offsets += matches
    assert len(set(offsets)) > 25
    centre = (32 - image_size) // 2
    assert {y for y, _ in offsets} == {x for _, x in offsets} == set(
        range(centre, centre + 7))


def test_the_border_is_the_mean_image_if_that_is_subtracted():
    statistics = tuple(IMAGES.mean(0).ravel()) + (50.,)
    inputs = run(lambda: preprocess_train(
        tf.constant(IMAGES), recipe(('pad_crop:30',), 32, 'per_pixel'), 3, 5,
        statistics=statistics))
    assert (inputs == 0).mean() > 0.3


def test_cutout_zeroes_a_square_at_random():
    corners = set()
    for image, source in zip(augmented(('cutout:8',)), by_channel(IMAGES.astype(float))):
        hole = (image == 0).all(-1)
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        np.testing.assert_array_equal(np.ptp(rows), 7)
        np.testing.assert_array_equal(np.ptp(columns), 7)
        assert hole.sum() == 64
        np.testing.assert_allclose(image[~hole], source[~hole], atol=1e-4)
        corners.add((rows[0], columns[0]))
    assert len(corners) > 40 and max(map(max, corners)) == 24 and min(map(min, corners)) == 0


def test_alternate_flip_flips_the_images_of_this_epoch():
    flip_now = np.arange(64) % 3 == 0
    plain = by_channel(IMAGES.astype(float))
    expected = np.where(flip_now[:, None, None, None], plain[:, :, ::-1], plain)
    np.testing.assert_allclose(augmented(('alternate_flip',), flip_now), expected, atol=1e-4)
    with pytest.raises(UserError, match='--source=memory'):
        augmented(('alternate_flip',))


@pytest.mark.parametrize('wrong, message', [
    (('flip:3',), 'flip takes none'), (('cutout:x',), 'invalid number in'),
    (('cutout:40',), 'does not fit'), (('cut_out',), 'did you mean cutout'),
    (('pad_crop:-1',), 'from 0 to 1024'), (('pad_crop:inf',), 'from 0 to 1024'),
    (('crop:-9',), 'from 0 to 1024'), (('cutout:nan',), 'from 0 to 1024'),
    (('contrast:2',), 'from 0 to 1.8'), (('contrast:1.5:1.2',), 'is below the lower bound'),
    (('contrast:1:2:3',), 'contrast takes 2'), (('cutout:',), 'invalid number in'),
    (('reflect_crop:32',), 'out of view')])
def test_wrong_numbers_of_augmentations_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        augmented(wrong)


@pytest.mark.parametrize('wrong,message', [
    (recipe(('crops',)), "unknown augmentation 'crops'; did you mean crop"),
    (recipe(normalize='per_imag'), 'did you mean per_image'),
    (recipe(image_size=33), 'image_size=33 cannot be cut from images of 32x32'),
    (recipe(('pad_crop:4',), image_size=33), 'image_size=33 cannot be cut from images of 32x32'),
    (recipe(image_size=0), 'image_size=0'),
])
def test_errors_name_what_is_wrong(wrong, message):
    with pytest.raises(UserError, match=message):
        run(lambda: preprocess_train(tf.constant(IMAGES), wrong, 1, 0))


@pytest.mark.parametrize('normalize', ['per_pixel', 'yuv_local'])
def test_brightness_of_normalized_images_is_refused(normalize):
    statistics = (0.,) * (32 * 32 * 3 + 1) if normalize == 'per_pixel' else (0.,) * 4
    with tf.Graph().as_default(), pytest.raises(UsageError, match='brightness needs pixels'):
        preprocess_train(tf.constant(IMAGES), recipe(('brightness',), 32, normalize), 1, 0,
                         statistics=statistics)

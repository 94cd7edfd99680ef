"""ImageInput: sizes, types and preprocessing of what a graph is fed."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.feeding.image_input import ImageInput
from permafrost.evaluation.frozen_graphs.graph_options import GraphOptions

SQUARE = [None, 24, 24, 3]


def made(shape, dtype=tf.float32, name='x', dataset_size=None, **stated):
    return ImageInput('a.pb', name, dtype.as_datatype_enum, shape, GraphOptions(**stated),
                      dataset_size)


@pytest.mark.parametrize('shape, stated, read, fed', [
    (SQUARE, {}, (32, 32), (24, 24)),  # the centre of an image of CIFAR-10's size
    (SQUARE, {'image_size': 40}, (40, 40), (24, 24)),
    ([None, 64, 64, 3], {}, (64, 64), (64, 64)), ([None, 48, 64, 3], {}, (48, 64), (48, 64)),
    ([None, 28, 28, 1], {}, (28, 28), (28, 28)), (None, {'image_size': 64}, (64, 64), (64, 64)),
    (None, {'crop_size': 24, 'image_size': 28}, (28, 28), (24, 24)),
    (None, {'input_width': 64, 'input_height': 48}, (48, 64), (48, 64)),
    (None, {'input_width': 48}, (48, 48), (48, 48))], ids=str)
def test_image_files_are_read_in_a_size_of_which_the_centre_is_fed(shape, stated, read, fed):
    found = made(shape, **stated)
    assert (found.read_size, (found.layout.height, found.layout.width)) == (read, fed)
    assert not found.missing_flags() and not found.takes_any_size


def test_sizes_that_nobody_states_are_asked_for_or_those_of_the_images():
    assert made(None).missing_flags() == ['--image_size N']
    raw = made([None, None, None, 3], tf.uint8)
    assert raw.takes_any_size and raw.batch == 1 and raw.read_size is None
    assert not raw.missing_flags() and 'images as they are, one at a time' in str(raw)
    own = made(None, tf.uint8, 'images', (40, 40))
    assert own.shape() == [None, 40, 40, 3] and made(None, tf.uint8, 'images').read_size == (32, 32)


@pytest.mark.parametrize('name, dtype, is_own', [
    ('images', tf.uint8, True), ('images', tf.float32, False), ('x', tf.uint8, False)])
def test_only_uint8_images_are_the_input_of_our_graphs(name, dtype, is_own):
    assert made(SQUARE, dtype, name).is_own == is_own


def test_what_is_fed_is_preprocessed_in_the_type_and_layout_of_the_graph():
    images = np.random.RandomState(1).randint(0, 256, (2, 10, 12, 3)).astype(np.uint8)
    centre = images[:, 1:9, 2:10]
    fed = made([None, 3, 8, 8], tf.float16, input_mean='128', input_std='64').feed(images)
    assert fed.dtype == np.float16
    np.testing.assert_allclose(fed, (centre.transpose(0, 3, 1, 2) - 128.) / 64, rtol=1e-3)
    fed = made([8, 8, 3], tf.float64).feed(images[:1])
    assert fed.dtype == np.float64 and fed.shape == (8, 8, 3)
    np.testing.assert_array_equal(fed, centre[0])
    grey = made([None, 64], standardize='per_image').feed(images)
    assert grey.shape == (2, 64) and np.abs(grey.mean(1)).max() < 1e-5


def test_it_says_what_it_assumes():
    assert str(made(SQUARE)) == ('x, float32 [N, 24, 24, 3], pixels 0 to 255, assumed '
                                 '(see --input_mean and --standardize)')
    assert str(made([8, 8, 1], standardize='none')) == (
        'x, float32 [8, 8, 1], luminance, pixels 0 to 255')


@pytest.mark.parametrize('arguments, message', [
    ((SQUARE, tf.int32), 'has type int32.* convert the model with a uint8 or float input'),
    (([0, 24, 24, 3], tf.float32), r'has shape \[0, 24, 24, 3\], but only images can be fed'),
    (([100001, 24, 24, 3], tf.float32), 'at most 100000 images can be fed at a time'),
    (([None, 7], tf.float32), r'has shape \[N, 7\]'),
    ((SQUARE, tf.uint8, 'x', None, {'standardize': 'none'}), 'receives pixels as they are'),
    ((SQUARE, tf.uint8, 'images', None, {'crop_size': 24}), 'crops images itself'),
    ((SQUARE, tf.float32, 'x', None, {'crop_size': 28}), '24x24, but --crop_size is 28x28'),
    (([None, 48, 64, 3], tf.float32, 'x', None, {'input_width': 48}), '64x48'),
    (([None, 8, 8, 1], tf.float32, 'x', None, {'input_mean': '1,2,3'}), 'one number for grey'),
    ((None, tf.float32, 'x', None, {'crop_size': 40, 'image_size': 32}), 'larger than')])
def test_what_cannot_be_fed_is_refused(arguments, message):
    *arguments, stated = arguments if isinstance(arguments[-1], dict) else (*arguments, {})
    with pytest.raises(UserError, match=message):
        made(*arguments, **stated)


def test_an_unknown_type_is_one_line():
    with pytest.raises(UserError, match="^a.pb: node 'x' has the unknown type 999: write "):
        ImageInput('a.pb', 'x', 999, SQUARE, GraphOptions(), None)


def test_images_of_a_dataset_must_fit():
    made(SQUARE).check_dataset('d', (32, 32))
    for found in (made([None, 64, 64, 3]), made(SQUARE, tf.uint8)):
        with pytest.raises(UserError, match='but those of d are 32x32'):
            found.check_dataset('d', (32, 32))

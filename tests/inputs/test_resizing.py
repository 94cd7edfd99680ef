"""Smaller images of a batch."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.inputs import resizing

IMAGES = np.random.RandomState(1).uniform(-2, 2, [6, 12, 12, 3]).astype(np.float32)


def smaller(mode, size, step=0):
    with tf.Graph().as_default(), tf.Session() as session:
        y = resizing.smaller(tf.constant(IMAGES), mode, size, 1, step)
        assert y.shape.as_list() == [6, size, size, 3]
        return session.run(y)


def test_a_crop_is_a_part_of_its_image_and_each_step_has_others():
    def offsets(crops):
        found = [[(top, left) for top in range(5) for left in range(5) if np.array_equal(
            image[top:top + 8, left:left + 8], crop)] for image, crop in zip(IMAGES, crops)]
        assert all(len(each) == 1 for each in found)
        return [each[0] for each in found]

    first = offsets(smaller('crop', 8))
    assert len(set(first)) > 1
    assert first == offsets(smaller('crop', 8)) != offsets(smaller('crop', 8, step=1))


def test_resizing_takes_the_mean_of_an_area():
    expected = IMAGES.reshape([6, 6, 2, 6, 2, 3]).mean((2, 4))
    np.testing.assert_allclose(smaller('resize', 6), expected, atol=1e-6)


@pytest.mark.parametrize('mode', ['crop', 'resize'])
def test_the_full_size_is_the_image_itself(mode):
    np.testing.assert_array_equal(smaller(mode, 12), IMAGES)

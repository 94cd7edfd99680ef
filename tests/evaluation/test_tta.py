"""Test-time augmentation: the views and their weights."""

import numpy as np
import pytest

from permafrost.evaluation import tta

IMAGES = np.random.RandomState(0).randint(0, 256, (5, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize('name, count', [('none', 1), ('flip', 2), ('flip_shift', 6)])
def test_the_first_view_is_the_image_and_weights_sum_to_one(name, count):
    views = tta.TTA[name](IMAGES)
    assert len(views) == count and sum(weight for weight, _ in views) == 1
    np.testing.assert_array_equal(views[0][1], IMAGES)
    assert all(view.shape == IMAGES.shape and view.dtype == np.uint8 for _, view in views)


def test_published_weights_and_shifts():
    """0.25 for the image and its mirror image, 0.125 for each of the four shifted ones."""
    views = tta.flip_shift(IMAGES)
    assert [weight for weight, _ in views] == [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]
    np.testing.assert_array_equal(views[1][1], IMAGES[:, :, ::-1])
    down, up = views[2][1], views[4][1]
    np.testing.assert_array_equal(down[:, 1:, 1:], IMAGES[:, :-1, :-1])
    np.testing.assert_array_equal(down[:, 0, 1:], IMAGES[:, 1, :-1])  # mirrored at the border
    np.testing.assert_array_equal(up[:, :-1, :-1], IMAGES[:, 1:, 1:])
    np.testing.assert_array_equal(views[3][1], down[:, :, ::-1])

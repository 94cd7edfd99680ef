"""Layouts of images, by the shape of the input that receives them."""

import numpy as np
import pytest
from PIL import Image

from permafrost.evaluation.frozen_graphs.feeding.layout import Layout, layout_of, text_of, to_grey


@pytest.mark.parametrize('shape, expected', [
    (None, Layout()), ([None, 32, 48, 3], Layout('HWC', 32, 48)),
    ([None, None, None, None], Layout()), ([2, 8, 8, 1], Layout('HWC', 8, 8, 1, batch=2)),
    ([None, 3, 32, 48], Layout('CHW', 32, 48)), ([None, 1, 8, 8], Layout('CHW', 8, 8, 1)),
    ([None, 28, 28], Layout('HW', 28, 28, 1)), ([None, 3072], Layout('flat', 32, 32)),
    ([None, 784], Layout('flat', 28, 28, 1)), ([3072], Layout('flat', 32, 32, 3, False)),
    ([32, 32, 3], Layout('HWC', 32, 32, 3, False)), ([3, 32, 32], Layout('CHW', 32, 32, 3, False)),
    ([None, None, 3], Layout('HWC', None, None, 3, False)),
    ([1, 28, 28], Layout('HW', 28, 28, 1, batch=1)),
    ([0, 32, 32, 3], None), ([None, 0, 8, 3], None), ([None, 8, 8, 7], None), ([None, 1000], None),
    ([None, None], None), ([], None), ([1] * 5, None), ([None, 99999, 8, 3], None)],
    ids=str)
def test_a_shape_tells_the_layout(shape, expected):
    assert layout_of(shape) == expected


@pytest.mark.parametrize('shape', [[2, 4, 6, 3], [2, 3, 4, 6], [2, 48], [2, 4, 6]], ids=str)
def test_images_are_arranged_in_the_shape_that_is_fed(shape):
    layout = layout_of([None] + shape[1:])
    images = np.arange(2 * layout.height * layout.width * layout.channels).reshape(
        2, layout.height, layout.width, layout.channels)
    fed = layout.arrange(images)
    assert list(fed.shape) == layout.shape(2) == shape
    in_order = fed.transpose(0, 2, 3, 1) if layout.order == 'CHW' else fed
    np.testing.assert_array_equal(in_order.ravel(), images.ravel())


def test_grey_is_what_pillow_makes_of_colours():
    pixels = np.random.RandomState(0).randint(0, 256, (1, 50, 40, 3)).astype(np.uint8)
    np.testing.assert_array_equal(to_grey(pixels)[0, ..., 0],
                                  np.asarray(Image.fromarray(pixels[0]).convert('L')))


def test_shapes_are_printed_with_n_for_the_number_of_images():
    assert text_of([None, None, 3]) == '[N, ?, 3]' and text_of([None, 3], False) == '[?, 3]'

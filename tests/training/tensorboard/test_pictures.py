"""Pictures of an evaluation: what is where in them."""

import io

import numpy as np
import pytest
from PIL import Image

from permafrost.training.tensorboard import pictures

IMAGES = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (10, 200)])
MISTAKES = [{'index': 1, 'label': 0, 'predicted': 1, 'probability': 0.75},
            {'index': 0, 'label': 1, 'predicted': 0, 'probability': 0.5}]


def read(value):
    return np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))


def test_a_cell_is_as_dark_as_the_share_of_its_true_class():
    image = pictures.confusion_matrix(np.array([[99, 1], [50, 50]]), ['cat', 'dog'])
    drawn = Image.fromarray(np.asarray(image))
    left, top = 20 + 3 * pictures.WIDTH, 3 * pictures.HEIGHT + 4
    corner = {(row, column): drawn.getpixel((left + 40 * column, top + 40 * row))[0]
              for row in range(2) for column in range(2)}
    assert corner[0, 0] < corner[1, 1] == corner[1, 0] < corner[0, 1] < 255


def test_mistakes_are_in_order_below_their_classes():
    grid = np.asarray(pictures.mistakes_grid(IMAGES, MISTAKES, ['cat', 'dog']))
    y = 6 + 2 * pictures.HEIGHT + 3 + pictures.SIDE // 2
    width = pictures.WIDTH * (pictures.LETTERS + 16) + 10
    assert grid[y, 10 + 48, 0] == 200 and grid[y, 10 + width + 48, 0] == 10
    assert (grid[6:30, 10:100] < 100).any() and not (grid[6:30, 2 * width + 5:] < 100).any()


@pytest.mark.parametrize('classes', [2, 20, 21, 200, 201])
def test_an_evaluation_of_any_number_of_classes_has_pictures(classes):
    names = ['<script>\n\x1b[1m \u732b' * 20] * classes
    summary = pictures.evaluation_pictures(np.eye(classes, dtype=int).tolist(), names, IMAGES,
                                           MISTAKES, '_raw')
    tags = ['confusion_matrix_raw'] * (classes <= 200) + ['worst_mistakes_raw']
    assert [value.tag for value in summary.value] == tags
    for value in summary.value:
        assert read(value).shape == (value.image.height, value.image.width, 3)
        assert value.image.width < 1500 and value.image.height < 1100


def test_without_a_mistake_there_is_no_picture_of_them():
    summary = pictures.evaluation_pictures([[1, 0], [0, 1]], ['a', 'b'], IMAGES, [])
    assert [value.tag for value in summary.value] == ['confusion_matrix']

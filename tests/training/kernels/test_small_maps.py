"""Maps that are laid out side by side."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.training.kernels import small_maps


@pytest.mark.parametrize('batch_size, width, gap, count', [
    (500, 7, 1, 4), (500, 3, 1, 20), (1000, 6, 1, 4), (500, 4, 1, 5), (128, 8, 1, 8),
    (500, 9, 1, 1), (7, 7, 1, 7), (13, 3, 1, 13), (500, 7, 0, 1), (None, 7, 1, 1)])
def test_rows_of_maps_fill_tiles(batch_size, width, gap, count):
    assert small_maps.maps_in_a_row(batch_size, width, gap) == count


def test_maps_are_followed_by_zeros(default_graph):
    x = np.arange(1., 4 * 2 * 2 * 3 + 1).reshape([4, 2, 2, 3])
    with tf.Session() as session:
        row = session.run(small_maps.side_by_side(tf.constant(x), 2, 1))
    assert row.shape == (2, 2, 6, 3)
    for index, image in enumerate(x):
        first = 3 * (index // 2)
        np.testing.assert_array_equal(row[index % 2, :, first:first + 2], image)
        np.testing.assert_array_equal(row[index % 2, :, first + 2], 0)

"""The limit on the size of an image."""

import pytest

from permafrost.datasets.images.bad_image import BadImage, check_size


def test_empty_and_huge_images_are_refused():
    check_size(1, 100000000)
    for width, height, reason in [(0, 5, 'no pixels'), (5, -1, 'no pixels'),
                                  (10001, 10000, '10001x10000 is larger than the limit of 100')]:
        with pytest.raises(BadImage, match=reason):
            check_size(width, height)

"""PNG files, odd and damaged: what is decoded, and what is refused."""

from permafrost.datasets.images import image
from tests.datasets.images.crafted import png_files, problems


def test_crafted_files():
    files = png_files()
    assert len(files) > 80
    assert problems(files, image.decode) == []

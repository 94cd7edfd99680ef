"""BMP files, odd and damaged: what is decoded, and what is refused."""

from permafrost.datasets.images import decode_bmp
from tests.datasets.images.crafted import bmp_files, problems


def test_crafted_files():
    files = bmp_files()
    assert len(files) > 60
    assert problems(files, decode_bmp.decode) == []

"""PNG files, odd and damaged: what is decoded, and what is refused."""

import zlib

import numpy as np
import pytest

from permafrost.datasets.images import decode_png, image
from permafrost.datasets.images.bad_image import BadImage
from tests.datasets.images.crafted import png_files, problems


def test_crafted_files():
    files = png_files()
    assert len(files) > 80
    assert problems(files, image.decode) == []


def test_pixels_are_counted_in_pieces_that_are_not_copied_again(monkeypatch):
    fed = []

    class Inflater:
        """zlib's, which notes what it gets."""
        def __init__(self):
            self._inflater = zlib_inflater()

        def decompress(self, data, max_length):
            fed.append(len(data))
            return self._inflater.decompress(data, max_length)

        def __getattr__(self, name):
            return getattr(self._inflater, name)

    zlib_inflater = zlib.decompressobj
    monkeypatch.setattr(decode_png.zlib, 'decompressobj', Inflater)
    content = np.random.RandomState(0).bytes(3 << 20)
    for data in (content, bytes(3 << 20), b''):
        fed.clear()
        compressed = zlib.compress(data)
        assert sum(decode_png._inflated_sizes(compressed)) == len(data)
        assert sum(fed) <= 2 * len(compressed) + decode_png.FEED_BYTES
        with pytest.raises(BadImage, match='the file is truncated'):
            list(decode_png._inflated_sizes(compressed[:-5]))

"""JPEG files, odd and damaged: what is decoded, turned upright, and refused."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from permafrost.datasets.images import decode_jpeg, image
from permafrost.datasets.images.bad_image import BadImage
from tests.datasets.images.crafted import crafted_files, jpeg_files, problems


def test_crafted_files():
    # Through image.decode, which turns the exceptions of Pillow into BadImage.
    assert len(jpeg_files()) > 80
    files = {name: file for name, file in crafted_files().items() if name.endswith('.jpg')}
    assert problems(files, image.decode) == []


@pytest.mark.parametrize('options', [
    {}, {'progressive': True}, {'subsampling': 0}, {'restart_marker_blocks': 3}])
@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_lost_data_are_noticed_although_the_file_has_an_end(options, mode):
    noise = np.random.RandomState(0).randint(0, 256, (50, 70, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(stream, 'JPEG', **options)
    content = stream.getvalue()
    assert decode_jpeg.decode(content).size == (70, 50)
    for missing in (20, 200, 900):
        with pytest.raises(BadImage):
            decode_jpeg.decode(content[:-2 - missing] + b'\xff\xd9')


@pytest.mark.parametrize('content, message', [
    (b'\xff\xd8' + b'\xff' * 2000000, 'truncated'),
    (b'\xff\xd8\xff' + b'\xda\0\2\xff' * 250000, 'more than 200 scans'),
    (b'\xff\xd8\xff\xc0\0\x0b\x08' + struct.pack('>HH', 20000, 60000) + bytes(5),
     'an image of 60000x20000 is larger')])
def test_hostile_files_are_refused_at_once(content, message):
    """Each byte is read a few times: a search from each byte of a long run would take hours."""
    with pytest.raises(BadImage, match=message):
        decode_jpeg.decode(content)

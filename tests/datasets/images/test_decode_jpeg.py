"""JPEG files, odd and damaged: what is decoded, turned upright, and refused."""

import io

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

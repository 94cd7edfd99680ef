"""Decoding image files: every mode of Pillow against its own pixels; crop and resize; bad files."""

import errno
import os
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from permafrost import files
from permafrost.datasets.images.bad_image import BadImage
from permafrost.datasets.images.image import read
from tests.datasets.helpers import MODES, png_header_of, smooth_colours


def save(path, pixels, mode=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image = image.convert(mode) if mode else image
    image.save(str(path), **options)
    return str(path)


@pytest.mark.parametrize('mode, extension', MODES)
def test_every_mode_is_decoded(tmp_path, mode, extension):
    expected = np.asarray(Image.fromarray(smooth_colours(32, 32)).convert(mode).convert('RGB'))
    path = save(tmp_path / ('x.' + extension), smooth_colours(32, 32), mode,
                **({'quality': 95} if extension == 'jpg' else {}))
    decoded = read(path, 32)
    assert decoded.dtype == np.uint8 and decoded.shape == (32, 32, 3)
    tolerance = 12 if extension == 'jpg' else 0
    assert np.abs(decoded.astype(int) - expected).max() <= tolerance


def test_cmyk_that_adobe_did_not_write_is_not_inverted(tmp_path):
    image = Image.fromarray(smooth_colours(32, 32)).convert('CMYK')
    path = save(tmp_path / 'x.jpg', image, quality=95)
    with open(path, 'rb') as stream:
        content = stream.read()
    marker = content.index(b'\xff\xee\x00\x0eAdobe')
    (tmp_path / 'y.jpg').write_bytes(content[:marker] + content[marker + 16:])
    inverted = Image.merge('CMYK', [band.point(lambda v: 255 - v) for band in image.split()])
    for name, expected in (('x.jpg', image), ('y.jpg', inverted)):
        decoded = read(str(tmp_path / name), 32).astype(int)
        assert np.abs(decoded - np.asarray(expected.convert('RGB'))).max() <= 12


def test_transparency_is_ignored(tmp_path):
    pixels = np.dstack([smooth_colours(32, 32), np.zeros((32, 32), np.uint8)])
    np.testing.assert_array_equal(read(save(tmp_path / 'x.png', pixels), 32),
                                  smooth_colours(32, 32))


def test_the_upper_8_of_16_bits_are_used(tmp_path):
    grey = (np.arange(1024).reshape(32, 32) * 64 + 63).astype(np.uint16)
    decoded = read(save(tmp_path / 'x.png', Image.fromarray(grey)), 32)
    np.testing.assert_array_equal(decoded, np.repeat((grey >> 8)[..., None], 3, 2))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_turns_a_jpeg_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / 'x.jpg', smooth_colours(40, 60), quality=95, exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    height, width = upright.shape[:2]
    top, left = (height - 40) // 2, (width - 40) // 2
    np.testing.assert_array_equal(read(path, 40),
                                  upright[top:top + 40, left:left + 40])


def slow_resize(pixels, size):
    """Resize with triangle filters, two pixels wide: of the result or, if larger, of the source."""
    def weights(length):
        scale = length / size
        support = max(scale, 1.)
        table = np.zeros((size, length))
        for i in range(size):
            for j in range(length):
                table[i, j] = max(0., 1 - abs((j + 0.5 - (i + 0.5) * scale) / support))
        return table / table.sum(1, keepdims=True)
    rows, columns = weights(pixels.shape[0]), weights(pixels.shape[1])
    return np.floor(np.einsum('ij,jkc,lk->ilc', rows, pixels.astype(float), columns) + 0.5)


@pytest.mark.parametrize('height, width', [(32, 32), (32, 45), (45, 32), (64, 64), (100, 71),
                                           (20, 20), (1, 1), (33, 200)])
def test_the_central_square_is_resized(tmp_path, height, width):
    pixels = np.random.RandomState(height).randint(0, 256, (height, width, 3)).astype(np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    expected = slow_resize(pixels[top:top + side, left:left + side], 32)
    decoded = read(save(tmp_path / 'x.png', pixels), 32)
    assert np.abs(decoded - expected).max() <= 1 and (decoded != expected).mean() < 1e-3


@pytest.mark.parametrize('name, content, reason', [
    ('empty.png', b'', 'the file is empty'),
    ('text.png', b'these are words\n', 'not a PNG, JPEG or BMP image'),
    ('image.gif', b'GIF89a' + bytes(50), 'not a PNG, JPEG or BMP image'),
    ('huge.png', png_header_of(60000, 60000),
     'an image of 60000x60000 is larger than the limit of 100'),
    ('short.png', png_header_of(5000, 5000), 'truncated'),
    ('header.bmp', b'BM' + bytes(8) + struct.pack('<IIiiHHIIiiII', 54, 40, 90000, 90000, 1, 24,
                                                  *[0] * 6), 'an image of 90000x90000')])
def test_a_bad_file_says_why(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadImage, match=reason):
        read(str(tmp_path / name), 32)


@pytest.mark.parametrize('extension', ['png', 'jpg', 'bmp'])
@pytest.mark.parametrize('fraction', [0.02, 0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path, extension, fraction):
    pixels = np.random.RandomState(1).randint(0, 256, (50, 50, 3)).astype(np.uint8)
    path = save(tmp_path / ('x.' + extension), pixels)
    with open(path, 'r+b') as stream:
        stream.truncate(int(fraction * stream.seek(0, 2)))
    with pytest.raises(BadImage):
        read(path, 32)


def test_a_file_that_cannot_be_read_now_is_not_a_bad_image(monkeypatch):
    def fail(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)
    monkeypatch.setattr(files, 'open_regular', fail)
    with pytest.raises(OSError, match='Input/output error'):
        read('x.png', 32)


@pytest.mark.timeout(60)  # a pipe without a writer is waited for for ever
@pytest.mark.parametrize('make', [
    os.mkfifo, os.mkdir, lambda path: os.symlink('/dev/zero', path)])
def test_what_is_no_regular_file_is_a_bad_image(tmp_path, make):
    make(str(tmp_path / 'x.png'))
    with pytest.raises(BadImage, match='^not a regular file$'):
        read(str(tmp_path / 'x.png'), 32)


def test_a_large_file_is_not_read(tmp_path):
    (tmp_path / 'x.png').write_bytes(b'')
    os.truncate(str(tmp_path / 'x.png'), (1 << 30) + 1)
    with pytest.raises(BadImage, match='larger than 1 GiB'):
        read(str(tmp_path / 'x.png'), 32)


def test_missing_and_looping_files_say_why(tmp_path):
    (tmp_path / 'loop.png').symlink_to('loop.png')
    with pytest.raises(BadImage, match='symbolic links'):
        read(str(tmp_path / 'loop.png'), 32)
    with pytest.raises(BadImage, match='No such file'):
        read(str(tmp_path / 'none.png'), 32)


def test_mutants_are_decoded_or_refused(tmp_path):
    """Pillow raises many kinds of exceptions on damaged files; each becomes a BadImage."""
    random = np.random.RandomState(3)
    refused = 0
    for extension in ('png', 'jpg', 'bmp'):
        with open(save(tmp_path / ('x.' + extension), smooth_colours(30, 20)), 'rb') as stream:
            original = np.frombuffer(stream.read(), np.uint8)
        for _ in range(150):
            mutant = original.copy()
            mutant[random.randint(0, min(len(mutant), 300), 3)] = random.randint(0, 256, 3)
            (tmp_path / 'mutant').write_bytes(mutant.tobytes())
            try:
                assert read(str(tmp_path / 'mutant'), 32).shape == (32, 32, 3)
            except BadImage as error:
                refused += 1
                assert str(error)
    assert refused > 50

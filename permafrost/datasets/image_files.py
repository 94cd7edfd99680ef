"""Decode an image file into the pixels that a network receives, exactly as label_image does."""

import contextlib
import errno
import os

import numpy as np
import PIL
from PIL import Image

EXTENSIONS = ('.png', '.jpg', '.jpeg', '.jpe', '.jfif', '.bmp', '.dib')
# Image files that neither this module nor label_image reads.
OTHER_EXTENSIONS = ('.gif', '.webp', '.tif', '.tiff', '.heic', '.heif', '.avif', '.jp2', '.j2k',
                    '.ppm', '.pgm', '.tga', '.ico', '.psd', '.svg', '.jxl')
MAX_PIXELS = 100000000  # as in label_image: a larger size is damage or an attack

# Errors that will not pass: those of Pillow, which have no errno, and dead links.
LASTING_ERRORS = (None, errno.ENOENT, errno.ELOOP)

EXIF_ORIENTATION = 0x0112
TRANSPOSE_BY_ORIENTATION = {
    2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM, 5: Image.TRANSPOSE,
    6: Image.ROTATE_270, 7: Image.TRANSVERSE, 8: Image.ROTATE_90}

Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is checked instead


class BadImage(Exception):
    """The reason why a file cannot be used, in a few words."""


def read(path: str, size: int) -> np.ndarray:
    """Return the central square of an image file, resized: uint8 [size, size, 3], RGB.

    Raises BadImage, or OSError if the file could not be read this time, as after a disk error.
    """
    try:
        if not os.path.getsize(path):
            raise BadImage('the file is empty')
        with Image.open(path, formats=('PNG', 'JPEG', 'BMP')) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadImage(f'an image of {image.width}x{image.height} is larger than the limit '
                               f'of {MAX_PIXELS // 10**6} megapixels')
            return _resize_square(_turn_upright(_to_rgb(image), image), size)
    except BadImage:
        raise
    except PIL.UnidentifiedImageError:
        raise BadImage('not a PNG, JPEG or BMP image')
    except OSError as error:
        if error.errno not in LASTING_ERRORS:
            raise
        raise BadImage(error.strerror or str(error))
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        raise BadImage(f"{error or 'damaged'} ({type(error).__name__})")


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB. Transparency is ignored; the upper 8 of 16 bits are used."""
    if image.mode.startswith(('I', 'F')):  # 16-bit grey
        grey = np.asarray(image).astype(np.int64)
        return Image.fromarray((grey >> 8).clip(0, 255).astype(np.uint8)).convert('RGB')
    if image.mode == 'CMYK' and 'adobe' not in image.info:
        # Pillow inverts every CMYK image, but only Adobe's programs write inverted ones.
        return Image.fromarray(255 - np.asarray(image), 'CMYK').convert('RGB')
    return image.convert('RGB')


def _turn_upright(image: Image.Image, source: Image.Image) -> Image.Image:
    """Transpose `image` by the EXIF orientation of the JPEG `source`."""
    if source.format in ('JPEG', 'MPO'):
        with contextlib.suppress(Exception):  # upright, or the EXIF data is damaged
            return image.transpose(TRANSPOSE_BY_ORIENTATION[source.getexif()[EXIF_ORIENTATION]])
    return image


def _resize_square(image: Image.Image, size: int) -> np.ndarray:
    """Resize the largest central square bilinearly, with antialiasing: uint8 [size, size, 3]."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if side == size:
        return np.array(image)
    # In floating point, as label_image does: Pillow rounds uint8 between rows and columns.
    bands = [band.convert('F').resize((size, size), Image.BILINEAR) for band in image.split()]
    return (np.stack(bands, 2) + 0.5).clip(0, 255).astype(np.uint8)

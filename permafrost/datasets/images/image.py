"""RGB images: decoded from a file, cropped to a shape, resized. As label_image/images/image.cc."""

import errno
import os

import numpy as np
from PIL import Image

from permafrost import files
from permafrost.datasets.images import decode_bmp, decode_jpeg, decode_png
from permafrost.datasets.images.bad_image import BadImage
from permafrost.errors import one_line

EXTENSIONS = ('.png', '.jpg', '.jpeg', '.jpe', '.jfif', '.bmp', '.dib')
# Image files that neither this module nor label_image reads.
OTHER_EXTENSIONS = ('.gif', '.webp', '.tif', '.tiff', '.heic', '.heif', '.avif', '.jp2', '.j2k',
                    '.ppm', '.pgm', '.tga', '.ico', '.psd', '.svg', '.jxl')
MAX_FILE_BYTES = 1 << 30  # as in label_image
DECODERS = ((b'\x89PNG\r\n\x1a\n', decode_png.decode), (b'\xff\xd8\xff', decode_jpeg.decode),
            (b'BM', decode_bmp.decode))

# Of links, other files that are not regular (see open_regular), and sockets. Others may pass.
LASTING_ERRORS = (errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.ENXIO)

Image.MAX_IMAGE_PIXELS = None  # bad_image.check_size has a lower limit


def read(path: str, size: int) -> np.ndarray:
    """Return the central square of an image file, resized: uint8 [size, size, 3], RGB.

    Raises BadImage, or OSError if the file could not be read this time, as after a disk error.
    """
    return decode_square(read_file(path), size)


def read_file(path: str) -> bytes:
    """Return the content of an image file. Raises like `read`."""
    try:
        with files.open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise BadImage('the file is larger than 1 GiB')
            return stream.read(size)  # /proc has regular files without an end; their size is 0
    except OSError as error:
        if error.errno not in LASTING_ERRORS:
            raise
        raise BadImage(error.strerror) from error


def decode_square(content: bytes, size: int) -> np.ndarray:
    """Return the central square of the image in `content`, resized: uint8 [size, size, 3], RGB."""
    return resize(decode(content), size, size)


def decode(content: bytes) -> Image.Image:
    """Decode a PNG, JPEG or BMP file to RGB. Raises BadImage.

    Grey and palette images are expanded, CMYK is converted, the upper 8 of 16 bits are used,
    transparency is ignored, and a JPEG is turned by its EXIF orientation.
    """
    for signature, decoder in DECODERS:
        if content.startswith(signature):
            try:
                return decoder(content)
            except (BadImage, MemoryError):  # which says nothing of the file
                raise
            except Exception as error:  # Pillow raises almost anything on damaged files
                reason = one_line(error) or 'damaged'
                raise BadImage(f'{reason} ({type(error).__name__})') from error
    raise BadImage('not a PNG, JPEG or BMP image' if content else 'the file is empty')


def resize(image: Image.Image, height: int, width: int) -> np.ndarray:
    """Resize the largest central part of this shape bilinearly, with antialiasing.

    Returns uint8 [height, width, 3].
    """
    crop_width = min(image.width, max(1, image.height * width // height))
    crop_height = min(image.height, max(1, image.width * height // width))
    left, top = (image.width - crop_width) // 2, (image.height - crop_height) // 2
    image = image.crop((left, top, left + crop_width, top + crop_height))
    if image.size == (width, height):
        return np.array(image)
    # In floating point, as label_image does: Pillow rounds uint8 between rows and columns.
    bands = [band.convert('F').resize((width, height), Image.BILINEAR) for band in image.split()]
    return (np.stack(bands, 2) + 0.5).clip(0, 255).astype(np.uint8)

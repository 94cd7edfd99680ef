"""Image files -> the pixels that a network is given, as label_image makes them of the same file."""

import errno
import os

import numpy as np
import PIL
from PIL import Image

EXTENSIONS = ('.png', '.jpg', '.jpeg', '.jpe', '.jfif', '.bmp', '.dib')
# Known to be images too, but not read here nor by label_image.
OTHER_EXTENSIONS = ('.gif', '.webp', '.tif', '.tiff', '.heic', '.heif', '.avif', '.jp2', '.j2k',
                 '.ppm', '.pgm', '.tga', '.ico', '.psd', '.svg', '.jxl')
MAX_PIXELS = 100000000  # as label_image: what claims more is damaged or an attack

LASTING = (None, errno.ENOENT, errno.ELOOP)  # of an OSError: Pillow's own, and dead links

ORIENTATION = 0x0112  # the tag of EXIF
TURNED = {2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM,
          5: Image.TRANSPOSE, 6: Image.ROTATE_270, 7: Image.TRANSVERSE, 8: Image.ROTATE_90}

Image.MAX_IMAGE_PIXELS = None  # MOST_PIXELS is checked instead, before any are decoded


class BadImage(Exception):
    """Why a file is no image that can be used, in a few words.

    `passing`: the system said so, not what is in the file; another time it may be read.
    """

    def __init__(self, why, passing=False):
        super().__init__(why)
        self.passing = passing


def read(path, side):
    """The middle square of the image in the file at `path`: uint8 [side, side, 3].

    Raises BadImage.
    """
    try:
        if not os.path.getsize(path):
            raise BadImage('the file is empty')
        with Image.open(path, formats=('PNG', 'JPEG', 'BMP')) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadImage('an image of %dx%d is larger than the limit of %d megapixels' % (
                    image.width, image.height, MAX_PIXELS // 10**6))
            return _resized(_square(_turned(_rgb(image), image)), side)
    except BadImage:
        raise
    except PIL.UnidentifiedImageError:
        raise BadImage('not a PNG, JPEG or BMP image')
    except OSError as error:
        raise BadImage(error.strerror or str(error), passing=error.errno not in LASTING)
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        raise BadImage('%s (%s)' % (error or 'damaged', type(error).__name__))


def _rgb(image):
    """`image` in RGB: its colours, without regard to transparency, of 16 bits the upper 8."""
    if image.mode.startswith(('I', 'F')):  # grey of 16 bits
        grey = np.asarray(image).astype(np.int64)
        return Image.fromarray((grey >> 8).clip(0, 255).astype(np.uint8)).convert('RGB')
    if image.mode == 'CMYK' and 'adobe' not in image.info:
        # Pillow takes every CMYK for inverted; that holds for what Adobe's programs wrote.
        return Image.fromarray(255 - np.asarray(image), 'CMYK').convert('RGB')
    return image.convert('RGB')


def _turned(image, source):
    """`image` the way up that the EXIF data of the JPEG `source` says."""
    if source.format not in ('JPEG', 'MPO'):
        return image
    try:
        how = TURNED.get(source.getexif().get(ORIENTATION))
    except Exception:  # damaged EXIF data does not make the pixels worse
        how = None
    return image if how is None else image.transpose(how)


def _square(image):
    """The largest square in the middle; where the sides differ by an odd number the upper left."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _resized(image, side):
    """uint8 [side, side, 3]: the very pixels where they are as many, else interpolated linearly
    over as many pixels as one of the result covers."""
    if image.size == (side, side):
        return np.array(image)
    # In floating point, as label_image does: Pillow would round between rows and columns.
    planes = [band.convert('F').resize((side, side), Image.BILINEAR) for band in image.split()]
    return (np.stack(planes, 2) + 0.5).clip(0, 255).astype(np.uint8)

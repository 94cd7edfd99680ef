"""The pixels of the crafted files, and the verdicts on them."""

import io

import numpy as np
from PIL import Image

REFUSED, ACCEPTED = 'refused', 'accepted'
PIXELS = np.dstack([np.add.outer(np.arange(36) * 5, np.arange(52) * 1),
                    np.add.outer(np.arange(36) * 2, np.arange(52) * 3),
                    np.add.outer(np.arange(36) * 0, np.arange(52) * 4)]).astype(np.uint8)
GREY = PIXELS[:, :, 0]


def saved(pixels, **options):
    """Return the bytes of an image file that Pillow writes."""
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(stream, **options)
    return stream.getvalue()

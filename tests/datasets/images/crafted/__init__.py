"""Odd and damaged image files, made here: {name: (content, verdict)}.

A verdict is the pixels, REFUSED, or ACCEPTED if no test knows the pixels.
"""

import numpy as np

from permafrost.datasets.images.bad_image import BadImage
from tests.datasets.images.crafted.bmp import bmp_files
from tests.datasets.images.crafted.jpeg import jpeg_files
from tests.datasets.images.crafted.pixels import ACCEPTED, REFUSED
from tests.datasets.images.crafted.png import SIGNATURE, png_files

__all__ = ['ACCEPTED', 'REFUSED', 'bmp_files', 'crafted_files', 'jpeg_files', 'png_files',
           'problems']


def problems(files, decode):
    """Return a line for each of `files` that `decode`, content -> image, treats another way."""
    lines = []
    for name, (content, verdict) in files.items():
        try:
            decoded = np.asarray(decode(content)).astype(int)
        except BadImage as error:
            if verdict is not REFUSED:
                lines.append(f'{name} was refused: {error}')
            continue
        if verdict is REFUSED:
            lines.append(f'{name} was accepted')
        elif verdict is not ACCEPTED and decoded.shape != verdict.shape:
            lines.append(f'{name} has the shape {decoded.shape}')
        elif verdict is not ACCEPTED and np.abs(decoded - verdict).max() > name.endswith('.jpg'):
            lines.append(f'{name} has other pixels')
    return lines


def crafted_files():
    """Return {name: (content, verdict)} of all files."""
    others = {'empty.png': b'', 'words.jpg': b'these are words\n', 'short.png': SIGNATURE,
              'short.jpg': b'\xff\xd8\xff', 'other.gif': b'GIF89a' + bytes(50)}
    return {**jpeg_files(), **png_files(), **bmp_files(),
            **{name: (content, REFUSED) for name, content in others.items()}}

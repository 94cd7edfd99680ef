"""BMP decoder, with NumPy. As label_image/images/decode_bmp.cc.

1, 4 and 8 bits with a palette; 16, 24 and 32 bits; no run-length encodings.
https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapinfoheader
"""

import struct
from typing import Any

import numpy as np
from PIL import Image

from permafrost.datasets.images.bad_image import BadImage, check_size

CORE_HEADER = 12  # bytes: of OS/2 1.x
MASKS = {16: (0x7c00, 0x3e0, 0x1f), 32: (0xff0000, 0xff00, 0xff)}  # without masks in the file
BITFIELDS = (3, 6)  # compression


def decode(content: bytes) -> Image.Image:
    """Decode a BMP file to RGB. Raises BadImage."""
    def numbers(layout: str, offset: int) -> Any:
        if offset + struct.calcsize(layout) > len(content):
            raise BadImage('the file is truncated')
        return struct.unpack_from('<' + layout, content, offset)

    offset, header = numbers('II', 10)
    is_core = header == CORE_HEADER
    if not is_core and not 40 <= header <= 1000:
        raise BadImage('its header has an unknown format')
    width, height, _, bits = numbers('HHHH' if is_core else 'iiHH', 18)
    compression, _, _, _, palette_size = (0,) * 5 if is_core else numbers('IIiiI', 30)
    check_size(width, abs(height))
    if bits not in (1, 4, 8, 16, 24, 32):
        raise BadImage(f'it has {bits} bits per pixel')
    has_masks = compression in BITFIELDS and bits in MASKS
    if compression and not has_masks:
        raise BadImage('compressed BMP images are not supported: save it uncompressed, or as PNG')
    if bits > 8:
        palette_size = 0
    elif not 0 < palette_size <= 1 << bits:
        palette_size = 1 << bits
    # The masks follow the first 40 bytes of the header, whether it ends there or not.
    palette = max(14 + header, 66 if has_masks else 0)
    entry = 3 if is_core else 4
    if offset <= palette:  # some programs write 0, or leave the palette out
        offset = palette + entry * palette_size
    stride = (width * bits + 31) // 32 * 4
    if offset + stride * abs(height) > len(content):
        raise BadImage('the file is truncated')
    rows = np.frombuffer(content, np.uint8, stride * abs(height), offset).reshape(-1, stride)
    if height > 0:
        rows = rows[::-1]
    if bits == 24:
        return Image.fromarray(rows[:, :3 * width].reshape(-1, width, 3)[..., ::-1].copy())
    if bits in MASKS:
        pixels = np.ascontiguousarray(rows).view(f'<u{bits // 8}')[:, :width]
        masks = numbers('III', 54) if has_masks else MASKS[bits]
        return Image.fromarray(np.stack([_levels(pixels, mask) for mask in masks], 2))
    digits = np.unpackbits(rows, 1).reshape(len(rows), -1, bits)
    indices = np.packbits(digits, 2)[:, :width, 0] >> 8 - bits
    known = content[palette:palette + entry * palette_size]
    colours = np.frombuffer(known.ljust(256 * entry, b'\0'), np.uint8)  # the others are black
    return Image.fromarray(colours.reshape(256, entry)[indices][..., 2::-1].copy())


def _levels(pixels: np.ndarray, mask: int) -> np.ndarray:
    """Return the levels, uint8, of the colour that has the bits `mask` in `pixels`."""
    if not mask:
        return np.zeros(pixels.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    maximum = mask >> shift
    if maximum & maximum + 1:
        raise BadImage('a colour mask has gaps')
    levels = pixels.astype(np.uint64) >> np.uint64(shift) & np.uint64(maximum)
    levels = (levels * np.uint64(255) + np.uint64(maximum // 2)) // np.uint64(maximum)
    return levels.astype(np.uint8)

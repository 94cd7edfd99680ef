"""Odd and damaged BMP files: {name: (content, verdict)}."""

import struct

import numpy as np

from tests.datasets.images.crafted.jpeg import JPEG
from tests.datasets.images.crafted.pixels import GREY, PIXELS, REFUSED


def bmp(bits, data, palette=b'', compression=0, size=40, offset=None, colours=0, masks=b'',
        width=52, height=36):
    head = struct.pack('<IiiHHIIiiII', size, width, height, 1, bits, compression, 0, 0, 0, colours,
                       0)
    head = (head + masks).ljust(size, b'\0')
    start = 14 + len(head) + len(palette)
    return struct.pack('<2sIII', b'BM', 0, 0, start if offset is None else offset) + (
        head + palette + data)


def core(bits, data, palette=b''):
    head = struct.pack('<IHHHH', 12, 52, 36, 1, bits)
    return struct.pack('<2sIII', b'BM', 0, 0, 26 + len(palette)) + head + palette + data


def bottom_up(values):
    """Return the rows of 2-D unsigned integers, from the last on, padded to 4 bytes."""
    return b''.join(row.tobytes() + bytes(-row.nbytes % 4) for row in values[::-1])


def packed(masks, kind):
    """Return (pixels of one number each, what they look like) of PIXELS; `masks` have no gaps."""
    numbers, seen = np.zeros(PIXELS.shape[:2], np.uint64), np.zeros_like(PIXELS)
    for c, mask in enumerate(masks):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            top = mask >> shift
            levels = (PIXELS[:, :, c].astype(np.uint64) * top + 127) // 255
            numbers |= levels << np.uint64(shift)
            seen[:, :, c] = (levels * 255 + top // 2) // top
    return bottom_up(numbers.astype(kind)), seen


def bmp_files():
    palette = np.random.RandomState(1).randint(0, 256, (256, 3)).astype(np.uint8)
    quads = np.pad(palette[:, ::-1], ((0, 0), (0, 1)), 'constant')
    indexed, rgb = bottom_up(GREY), bottom_up(PIXELS[:, :, ::-1].reshape(36, -1))
    quad = quads.tobytes()
    first = quads[:100].tobytes()
    short = palette.copy()
    short[100:] = 0
    files = {}
    for bits in (1, 4, 8):
        digits = np.unpackbits(GREY[:, :, None], 2)[:, :, :bits].reshape(36, -1)
        data, seen = bottom_up(np.packbits(digits, 1)), palette[GREY >> 8 - bits]
        files[f'palette-{bits}'] = bmp(bits, data, quads[:1 << bits].tobytes()), seen
        files[f'core-{bits}'] = core(bits, data, palette[:1 << bits, ::-1].tobytes()), seen
    for name, masks, kind, compression in [
            ('555', (0x7c00, 0x3e0, 0x1f), '<u2', 0), ('565', (0xf800, 0x7e0, 0x1f), '<u2', 3),
            ('4444', (0xf00, 0xf0, 0xf), '<u2', 6), ('231', (0x60, 0x1c, 1), '<u2', 3),
            ('8888', (0xff0000, 0xff00, 0xff), '<u4', 0),
            ('bgr', (0xff, 0xff00, 0xff0000), '<u4', 3),
            ('10-bits', (0x3ff00000, 0xffc00, 0x3ff), '<u4', 3),
            ('no-red', (0, 0xff00, 0xff), '<u4', 3)]:
        data, seen = packed(masks, kind)
        raw = struct.pack('<III', *masks)
        bits = 8 * int(kind[2])
        for size in (40, 52, 56, 108, 124) if compression else (40, 64):
            files[f'{name}-{size}'] = bmp(bits, data, compression=compression, size=size,
                                          masks=raw if compression else b''), seen
    for name, content, verdict in [
            ('rgb', bmp(24, rgb), PIXELS), ('core-24', core(24, rgb), PIXELS),
            ('top-down', bmp(24, bottom_up(PIXELS[::-1, :, ::-1].reshape(36, -1)), height=-36),
             PIXELS),
            ('offset-0', bmp(24, rgb, offset=0), PIXELS),
            ('offset-0-palette', bmp(8, indexed, quad, offset=0), palette[GREY]),
            ('offset-54-palette', bmp(8, indexed, quad, offset=54), palette[GREY]),
            ('offset-odd', bmp(24, b'xyz' + rgb, offset=57), PIXELS),
            ('offset-too-large', bmp(24, rgb, offset=54 + len(rgb)), REFUSED),
            ('offset-huge', bmp(24, rgb, offset=0xffffffff), REFUSED),
            ('palette-of-24-bits', bmp(24, rgb, quad, colours=256), PIXELS),
            ('short-palette', bmp(8, indexed, first, colours=100), short[GREY]),
            ('colours-too-many', bmp(8, indexed, quad, colours=70000), palette[GREY]),
            ('rle8', bmp(8, indexed, quad, compression=1), REFUSED),
            ('rle4', bmp(4, indexed, quad, compression=2), REFUSED),
            ('jpeg-within', bmp(0, JPEG, compression=4), REFUSED),
            ('png-within', bmp(0, rgb, compression=5), REFUSED),
            ('masks-of-24-bits', bmp(24, rgb, compression=3), REFUSED),
            ('mask-with-gaps', bmp(32, rgb + rgb, compression=3, size=52,
                                   masks=struct.pack('<III', 5, 2, 8)), REFUSED),
            ('2-bits', bmp(2, indexed, quad), REFUSED), ('0-bits', bmp(0, indexed), REFUSED),
            ('header-16', bmp(24, rgb, size=16), REFUSED),
            ('header-huge', bmp(24, rgb)[:14] + b'\xff\xff\xff\x7f' + bmp(24, rgb)[18:], REFUSED),
            ('no-width', bmp(24, rgb, width=0), REFUSED),
            ('no-height', bmp(24, rgb, height=0), REFUSED),
            ('negative-width', bmp(24, rgb, width=-52), REFUSED),
            ('lowest-height', bmp(24, rgb, height=-2 ** 31), REFUSED),
            ('huge', bmp(24, rgb, width=50000, height=50000), REFUSED),
            ('cut', bmp(24, rgb)[:-1], REFUSED), ('cut-in-the-header', bmp(24, rgb)[:40], REFUSED),
            ('signature', b'BM', REFUSED), ('garbage-after', bmp(24, rgb) + b'garbage', PIXELS)]:
        files[name] = content, verdict
    return {f'{name}.bmp': file for name, file in files.items()}

"""Odd and damaged PNG files: {name: (content, verdict)}."""

import struct
import zlib

import numpy as np

from tests.datasets.images.crafted.jpeg import exif
from tests.datasets.images.crafted.pixels import GREY, PIXELS, REFUSED

SIGNATURE = b'\x89PNG\r\n\x1a\n'


def chunk(name, data=b'', damage=0):
    return (struct.pack('>I', len(data)) + name + data
            + struct.pack('>I', zlib.crc32(name + data) ^ damage))


def header(depth=8, colour=2, width=52, height=36, interlaced=0, compression=0, filtering=0):
    return chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, compression,
                                      filtering, interlaced))


def rows(pixels=PIXELS, filtering=0):
    """Return the uncompressed rows, each behind its filter."""
    return b''.join(bytes([filtering]) + row.tobytes() for row in pixels)


def png(*chunks, head=None, end=None):
    return SIGNATURE + (header() if head is None else head) + b''.join(chunks) + (
        chunk(b'IEND') if end is None else end)


def grey_rows(depth):
    """Return (rows of the upper `depth` bits of GREY, what they look like as RGB)."""
    bits = np.unpackbits(GREY[:, :, None], 2)[:, :, :depth].reshape(36, -1)
    levels = (GREY >> 8 - depth).astype(int) * 255 // ((1 << depth) - 1)
    return rows(np.packbits(bits, 1)), np.repeat(levels.astype(np.uint8)[:, :, None], 3, 2)


def png_files():
    compressed = zlib.compress(rows())
    idat = chunk(b'IDAT', compressed)
    palette = np.random.RandomState(0).randint(0, 256, (256, 3)).astype(np.uint8)
    plte = chunk(b'PLTE', palette.tobytes())
    indexed = chunk(b'IDAT', zlib.compress(rows(GREY)))
    of_palette = header(colour=3)
    short = palette.copy()
    short[100:] = 0
    grey = np.repeat(GREY[:, :, None], 3, 2)
    files = {}
    for depth in (1, 2, 4, 8):
        data, expected = grey_rows(depth)
        files[f'grey-{depth}'] = png(chunk(b'IDAT', zlib.compress(data)),
                                     head=header(depth, 0)), expected
        files[f'palette-{depth}'] = (png(plte, chunk(b'IDAT', zlib.compress(data)),
                                         head=header(depth, 3)), palette[GREY >> 8 - depth])
    for colour, channels in ((0, 1), (2, 3), (4, 2), (6, 4)):
        deep = np.random.RandomState(colour).randint(0, 65536, (36, 52, channels)).astype('>u2')
        high = (deep >> 8).astype(np.uint8)
        expected = high[:, :, :3] if channels > 2 else np.repeat(high[:, :, :1], 3, 2)
        files[f'16-bits-{channels}'] = png(chunk(b'IDAT', zlib.compress(rows(deep))),
                                           head=header(16, colour)), expected
        passes = [(deep[y::dy, x::dx]) for x, y, dx, dy in (
            (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
            (0, 1, 1, 2))]
        data = b''.join(map(rows, passes))
        head = header(16, colour, interlaced=1)
        files[f'interlaced-{channels}'] = png(chunk(b'IDAT', zlib.compress(data)),
                                              head=head), expected
        files[f'interlaced-{channels}-cut'] = png(chunk(b'IDAT', zlib.compress(data[:-1])),
                                                  head=head), REFUSED
    for name in (b'tRNS', b'gAMA', b'cHRM', b'pHYs', b'tIME', b'bKGD', b'sBIT', b'hIST', b'iCCP',
                 b'sRGB', b'eXIf', b'acTL', b'fcTL', b'tEXt', b'zTXt', b'iTXt', b'sPLT', b'quUx'):
        files[f'empty-{name.decode()}'] = png(chunk(name), idat), PIXELS
        files[f'damaged-{name.decode()}'] = png(chunk(name, b'words', 1), idat), PIXELS
    bomb = zlib.compress(bytes(3 << 20))
    half = len(compressed) // 2
    for name, content, verdict in [
            ('alpha', png(chunk(b'IDAT', zlib.compress(rows(np.dstack([PIXELS, GREY])))),
                          head=header(colour=6)), PIXELS),
            ('grey-alpha', png(chunk(b'IDAT', zlib.compress(rows(np.dstack([GREY, GREY])))),
                               head=header(colour=4)), grey),
            ('transparent-colour', png(chunk(b'tRNS', bytes(6)), idat), PIXELS),
            ('transparent-grey',
             png(chunk(b'tRNS', bytes(2)), indexed, head=header(colour=0)), grey),
            ('transparent-palette', png(plte, chunk(b'tRNS', bytes(99)), indexed, head=of_palette),
             palette[GREY]),
            ('gamma', png(chunk(b'gAMA', struct.pack('>I', 100000)), idat), PIXELS),
            ('exif', png(chunk(b'eXIf', exif(6)[10:]), idat), PIXELS),
            ('long-text', png(chunk(b'tEXt', b'a\0' + b'x' * (2 << 20)), idat), PIXELS),
            ('text-bomb', png(chunk(b'zTXt', b'a\0\0' + bomb), idat), PIXELS),
            ('profile-bomb', png(chunk(b'iCCP', b'a\0\0' + bomb), idat), PIXELS),
            ('header-checksum', png(idat, head=header()[:-1] + b'x'), REFUSED),
            ('data-checksum', png(chunk(b'IDAT', compressed, 1)), REFUSED),
            ('end-checksum', png(idat, end=chunk(b'IEND', b'', 1)), REFUSED),
            ('palette-checksum',
             png(chunk(b'PLTE', palette.tobytes(), 1), indexed, head=of_palette), REFUSED),
            ('suggested-palette', png(plte, idat), PIXELS),
            ('suggested-palette-damaged', png(chunk(b'PLTE', b'word', 1), idat), PIXELS),
            ('unknown-critical', png(chunk(b'QuUx'), idat), REFUSED),
            ('apple', png(chunk(b'CgBI', bytes(4)), idat), REFUSED),
            ('without-palette', png(indexed, head=of_palette), REFUSED),
            ('empty-palette', png(chunk(b'PLTE'), indexed, head=of_palette), REFUSED),
            ('odd-palette', png(chunk(b'PLTE', bytes(100)), indexed, head=of_palette), REFUSED),
            ('large-palette', png(chunk(b'PLTE', bytes(771)), indexed, head=of_palette), REFUSED),
            ('two-palettes', png(plte, plte, indexed, head=of_palette), REFUSED),
            ('short-palette',
             png(chunk(b'PLTE', palette[:100].tobytes()), indexed, head=of_palette), short[GREY]),
            ('two-headers', png(header(), idat), REFUSED),
            ('header-not-first', png(idat, head=chunk(b'gAMA', bytes(4)) + header()), REFUSED),
            ('short-header', png(idat, head=chunk(b'IHDR', header()[8:-5])), REFUSED),
            ('3-bits', png(idat, head=header(depth=3)), REFUSED),
            ('4-bits-of-colour', png(idat, head=header(depth=4)), REFUSED),
            ('colour-type-5', png(idat, head=header(colour=5)), REFUSED),
            ('no-width', png(idat, head=header(width=0)), REFUSED),
            ('huge', png(idat, head=header(width=20000, height=20000)), REFUSED),
            ('compression-1', png(idat, head=header(compression=1)), REFUSED),
            ('filtering-1', png(idat, head=header(filtering=1)), REFUSED),
            ('interlaced-2', png(idat, head=header(interlaced=2)), REFUSED),
            ('unknown-filter', png(chunk(b'IDAT', zlib.compress(rows(filtering=5)))), REFUSED),
            ('too-few-rows', png(chunk(b'IDAT', zlib.compress(rows()[:-1]))), REFUSED),
            ('too-many-rows', png(chunk(b'IDAT', zlib.compress(rows() + b'\0'))), REFUSED),
            ('padded-data', png(chunk(b'IDAT', compressed + b'padding')), PIXELS),
            ('wrong-adler', png(chunk(b'IDAT', compressed[:-1] + b'x')), REFUSED),
            ('without-adler', png(chunk(b'IDAT', compressed[:-4])), REFUSED),
            ('damaged-data',
             png(chunk(b'IDAT', compressed[:half] + b'\xff\xff' + compressed[half:])), REFUSED),
            ('without-data', png(), REFUSED),
            ('split-data', png(*[chunk(b'IDAT', compressed[i:i + 1])
                                 for i in range(len(compressed))]), PIXELS),
            ('empty-data-chunks', png(chunk(b'IDAT'), idat, chunk(b'IDAT')), PIXELS),
            ('text-within-data', png(chunk(b'IDAT', compressed[:half]), chunk(b'tEXt', b'a\0b'),
                                     chunk(b'IDAT', compressed[half:])), PIXELS),
            ('without-end', png(idat, end=b''), REFUSED),
            ('cut-in-the-end', png(idat)[:-1], REFUSED),
            ('cut', png(idat)[:-400], REFUSED),
            ('garbage-after', png(idat) + b'garbage', PIXELS)]:
        files[name] = content, verdict
    return {f'{name}.png': file for name, file in files.items()}

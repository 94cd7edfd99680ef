"""Odd and damaged image files, made here: {name: (content, verdict)}.

A verdict is the pixels, REFUSED, or ACCEPTED if no test knows the pixels.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from permafrost.datasets.images.bad_image import BadImage

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


# JPEG

JPEG = saved(PIXELS, format='JPEG', quality=95)
PROGRESSIVE = saved(PIXELS, format='JPEG', quality=95, progressive=True)


def restart_intervals():
    """Return a JPEG file with a restart marker after every second block."""
    return saved(PIXELS, format='JPEG', quality=95, restart_marker_blocks=2)


def segment(marker, data):
    return bytes([0xff, marker]) + struct.pack('>H', len(data) + 2) + data


def with_segments(*segments, jpeg=JPEG):
    return jpeg[:2] + b''.join(segments) + jpeg[2:]


def exif(value, kind=3, count=1, order='<'):
    """Return an APP1 segment with an EXIF orientation; kind 3 is SHORT, 4 LONG."""
    data = b'II' if order == '<' else b'MM'
    data += struct.pack(order + 'HIHHHI', 42, 8, 1, 0x112, kind, count)
    data += struct.pack(order + ('I' if kind == 4 else 'HH'), *([value] if kind == 4 else
                                                                 [value, 0])) + bytes(4)
    return segment(0xe1, b'Exif\0\0' + data)


def xmp(value):
    return segment(0xe1, b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta '
                   b'xmlns:x="adobe:ns:meta/"><rdf:RDF '
                   b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
                   b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF>'
                   b'</x:xmpmeta>' % value)


TURNED = {2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
          5: lambda a: a.transpose(1, 0, 2), 6: lambda a: a[::-1].transpose(1, 0, 2),
          7: lambda a: a[::-1, ::-1].transpose(1, 0, 2), 8: lambda a: a[:, ::-1].transpose(1, 0, 2)}


def turned(orientation):
    return np.ascontiguousarray(TURNED.get(orientation, lambda a: a)(as_saved(JPEG)))


def as_saved(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert('RGB'))


def replaced(jpeg, marker, offset, new):
    """Return the file with the bytes at `offset` in the segment of `marker` replaced."""
    start = jpeg.index(bytes([0xff, marker])) + offset
    return jpeg[:start] + new + jpeg[start + len(new):]


def scan_start(jpeg):
    start = jpeg.index(b'\xff\xda')
    return start + 2 + struct.unpack_from('>H', jpeg, start + 2)[0]


def jpeg_files():
    upright = as_saved(JPEG)
    files = {f'orientation-{i}': (with_segments(exif(i)), turned(i)) for i in range(10)}
    for i in range(1, 9):
        files[f'orientation-{i}-motorola'] = with_segments(exif(i, order='>')), turned(i)
        files[f'orientation-{i}-long'] = with_segments(exif(i, kind=4)), upright
        files[f'orientation-{i}-xmp'] = with_segments(xmp(i)), upright
    start, end = scan_start(JPEG), len(JPEG) - 2
    with_restarts = restart_intervals()
    restart_end = len(with_restarts) - 2
    for name, content, verdict in [
            ('two-orientations', with_segments(exif(6, count=2)), upright),
            ('exif-then-exif', with_segments(exif(6), exif(3)), turned(6)),
            ('exif-then-xmp', with_segments(exif(6), xmp(3)), turned(6)),
            ('xmp-then-exif', with_segments(xmp(3), exif(6)), turned(6)),
            ('exif-cut', with_segments(segment(0xe1, b'Exif\0\0II*\0\x08\0\0\0')), upright),
            ('exif-of-garbage', with_segments(segment(0xe1, b'Exif\0\0' + b'\xff' * 99)), upright),
            ('exif-empty', with_segments(segment(0xe1, b'Exif\0\0')), upright),
            ('mpf-of-garbage', with_segments(segment(0xe2, b'MPF\0II*\0\xff\xff\xff')), upright),
            ('icc-of-garbage', with_segments(segment(0xe2, b'ICC_PROFILE\0\1\2xxx')), upright),
            ('photoshop', with_segments(segment(0xed, b'Photoshop 3.0\x008BIM')), upright),
            ('jfif-short', with_segments(segment(0xe0, b'JFIF\0\1')), upright),
            ('empty-segments',
             with_segments(*(segment(m, b'') for m in range(0xe0, 0xf0))), upright),
            ('comment', with_segments(segment(0xfe, b'\xff\xd9 words')), upright),
            ('segment-of-no-length', with_segments(b'\xff\xe5\0\0'), upright),
            ('tables-of-no-length', with_segments(b'\xff\xdb\0\0'), REFUSED),
            ('segment-too-long', with_segments(b'\xff\xe5\xff\xff'), REFUSED),
            ('fill-bytes', JPEG[:2] + b'\xff\xff\xff' + JPEG[2:], upright),
            ('garbage-between', JPEG[:2] + JPEG[2:20] + b'garbage' + JPEG[20:], upright),
            ('garbage-after', JPEG + b'garbage', upright),
            ('another-after', JPEG + PROGRESSIVE, upright),
            ('surplus-data', JPEG[:end] + b'\x12\x34' + JPEG[end:], upright),
            ('cut', JPEG[:end - 200], REFUSED),
            ('cut-in-the-header', JPEG[:start - 30], REFUSED),
            ('cut-with-end', JPEG[:end - 200] + b'\xff\xd9', REFUSED),
            ('no-data-with-end', JPEG[:start] + b'\xff\xd9', REFUSED),
            ('without-end', JPEG[:end], REFUSED),
            ('without-end-and-zeros', JPEG[:end] + bytes(500), REFUSED),
            ('progressive', PROGRESSIVE, as_saved(PROGRESSIVE)),
            ('progressive-cut', PROGRESSIVE[:-200], REFUSED),
            ('progressive-cut-with-end', PROGRESSIVE[:-200] + b'\xff\xd9', REFUSED),
            ('stray-restart', JPEG[:start + 300] + b'\xff\xd0' + JPEG[start + 300:], REFUSED),
            ('restarts', with_restarts, as_saved(with_restarts)),
            ('restarts-cut', with_restarts[:restart_end - 100] + b'\xff\xd9', REFUSED),
            ('restart-missing', with_restarts.replace(b'\xff\xd2', b''), REFUSED),
            ('restart-out-of-order', with_restarts.replace(b'\xff\xd2', b'\xff\xd5', 1), REFUSED),
            ('height-too-large', replaced(JPEG, 0xc0, 5, b'\0\xff'), REFUSED),
            ('height-smaller', replaced(JPEG, 0xc0, 5, b'\0\x10'), ACCEPTED),
            ('no-height', replaced(JPEG, 0xc0, 5, b'\0\0'), REFUSED),
            ('huge', replaced(JPEG, 0xc0, 5, b'\xff\xff\xff\xff'), REFUSED),
            ('12-bits', replaced(JPEG, 0xc0, 4, b'\x0c'), REFUSED),
            ('lossless', replaced(JPEG, 0xc0, 0, b'\xff\xc3'), REFUSED),
            ('hierarchical', replaced(JPEG, 0xc0, 0, b'\xff\xc5'), REFUSED),
            ('two-frames', JPEG[:start - 14] + JPEG[JPEG.index(b'\xff\xc0'):], REFUSED),
            ('many-scans',
             PROGRESSIVE[:-2] + segment(0xda, b'\1\1\0\1\x3f\0') * 250 + b'\xff\xd9', REFUSED),
            ('without-tables', JPEG.replace(b'\xff\xc4', b'\xff\xe5'), ACCEPTED),
            ('without-quantization', JPEG.replace(b'\xff\xdb', b'\xff\xe5'), REFUSED),
            ('grey', saved(GREY, format='JPEG', quality=95), ACCEPTED),
            ('subsampled', saved(PIXELS, format='JPEG', subsampling=2), ACCEPTED),
            ('not-subsampled', saved(PIXELS, format='JPEG', subsampling=0), ACCEPTED),
            ('cmyk', saved(Image.fromarray(PIXELS).convert('CMYK'), format='JPEG'), ACCEPTED)]:
        if not name.startswith('restart-') or b'\xff\xdd' in with_restarts:  # not Pillow 9
            files[name] = content, verdict
    return {f'{name}.jpg': file for name, file in files.items()}


# PNG

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


# BMP


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

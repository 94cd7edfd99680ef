"""Odd and damaged JPEG files: {name: (content, verdict)}."""

import io
import struct

import numpy as np
from PIL import Image

from tests.datasets.images.crafted.pixels import ACCEPTED, GREY, PIXELS, REFUSED, saved

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
            ('more-restarts-than-blocks', JPEG[:end] + 1000 * bytes.fromhex(
                'ffd0 ffd1 ffd2 ffd3 ffd4 ffd5 ffd6 ffd7') + b'\xff\xd9', ACCEPTED),
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

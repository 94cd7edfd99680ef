"""JPEG decoder, with Pillow. As label_image/images/decode_jpeg.cc.

Pillow's versions differ in how they treat metadata, and none of them tells of missing data. Here
the segments are checked first, and Pillow receives only those that make pixels.
"""

import io
import re
import struct
from typing import Iterator, Tuple

import numpy as np
from PIL import Image

from permafrost.datasets.images.bad_image import BadImage, check_size

SOI, EOI, SOS, TEM, COM, APP0, APP1, ADOBE = 0xd8, 0xd9, 0xda, 0x01, 0xfe, 0xe0, 0xe1, 0xee
RESTARTS = range(0xd0, 0xd8)
FRAMES = (0xc0, 0xc1, 0xc2, 0xc9, 0xca)  # baseline to progressive, in Huffman or arithmetic code
ARITHMETIC = (0xc9, 0xca)
OTHER_FRAMES = (0xc3, 0xc5, 0xc6, 0xc7, 0xcb, 0xcd, 0xce, 0xcf)  # lossless, hierarchical
MAX_SCANS = 200  # a small progressive file can request any number of passes over all pixels
# The last of the 0xff that may precede a marker. With \xff+, a long run of them would be searched
# from each of its bytes on.
MARKER = re.compile(rb'\xff[\x01-\xfe]')
END_OF_SCAN = re.compile(rb'\xff[\x01-\xcf\xd8-\xfe]')
RESTART = re.compile(rb'(?<!\xff)\xff+[\x01-\xfe]')  # in the data of a scan
# Data that no decoder reads, unless those of a scan end too early. Then these bits, unlike the
# zeros that libjpeg takes instead, change the pixels.
SURPLUS = bytes(range(0xbf, 0, -1))

TRANSPOSE_BY_ORIENTATION = {
    2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM, 5: Image.TRANSPOSE,
    6: Image.ROTATE_270, 7: Image.TRANSVERSE, 8: Image.ROTATE_90}
EXIF = b'Exif\0\0'
ORIENTATION, SHORT = 0x112, 3


def decode(content: bytes) -> Image.Image:
    """Decode a JPEG file to RGB, upright. Raises BadImage, or an exception of Pillow."""
    clean, with_surplus = bytearray(b'\xff\xd8'), bytearray(b'\xff\xd8')
    scans, orientation, is_adobe, is_arithmetic, blocks = 0, None, False, False, 0
    for marker, data, scan in _segments(content):
        if marker in FRAMES:
            if data[:1] != b'\x08' or len(data) < 5:
                raise BadImage('only JPEG images of 8 bits per colour are supported')
            height, width = struct.unpack_from('>HH', data, 1)
            check_size(width, height)
            blocks = -(-width // 8) * -(-height // 8)
            is_arithmetic = marker in ARITHMETIC
        elif marker in OTHER_FRAMES:
            raise BadImage('this kind of JPEG image is not supported')
        elif marker == APP1 and data.startswith(EXIF) and not scans and orientation is None:
            orientation = _orientation(data[len(EXIF):])
        elif marker == ADOBE and data.startswith(b'Adobe') and len(data) >= 12:
            is_adobe = True
        segment = _without_metadata(marker, data)
        clean += segment + scan
        # No decoder reads further intervals than there are blocks; re takes 0 for all.
        with_surplus += segment + RESTART.sub(
            lambda found: SURPLUS + found.group(), scan, count=max(blocks, 1))
        if marker == SOS:
            scans += 1
            with_surplus += SURPLUS
            if scans > MAX_SCANS:
                raise BadImage(f'more than {MAX_SCANS} scans')
            if any(found.group()[-1] & 7 != i & 7
                   for i, found in enumerate(RESTART.finditer(scan))):
                raise BadImage('restart markers are out of order')
    image = _decode(bytes(clean), is_adobe)
    if not is_arithmetic and image != _decode(bytes(with_surplus), is_adobe):
        raise BadImage('the data of a scan end too early')
    transpose = TRANSPOSE_BY_ORIENTATION.get(orientation or 1)
    return image if transpose is None else image.transpose(transpose)


def _segments(content: bytes) -> Iterator[Tuple[int, bytes, bytes]]:
    """Yield (marker, data, entropy-coded data that follow) of each segment. Raise BadImage."""
    position = 2
    while True:
        found = MARKER.search(content, position)
        if not found:
            raise BadImage('the file is truncated')
        marker, position = found.group()[-1], found.end()
        if marker == TEM or marker in RESTARTS:
            continue
        if marker == EOI:
            yield marker, b'', b''
            return
        length = int.from_bytes(content[position:position + 2], 'big')
        start, position = position + 2, position + max(length, 2)
        if position > len(content):
            raise BadImage('the file is truncated')
        if length < 2 and not _is_metadata(marker):
            raise BadImage('the length of a segment is damaged')
        scan = b''
        if marker == SOS:
            end = END_OF_SCAN.search(content, position)
            scan = content[position:end.start() if end else len(content)].rstrip(b'\xff')
        yield marker, content[start:position], scan
        position += len(scan)


def _is_metadata(marker: int) -> bool:
    return marker == COM or marker in range(APP0, 0xf0)


def _without_metadata(marker: int, data: bytes) -> bytes:
    """Return a segment, or b'' if it does not change the pixels."""
    if marker == EOI:
        return b'\xff\xd9'
    if marker == APP0 and data.startswith(b'JFIF\0') and len(data) >= 14:
        data = b'JFIF\0\1\1\0\0\1\0\1\0\0'
    elif marker == ADOBE and data.startswith(b'Adobe') and len(data) >= 12:
        data = data[:12]
    elif _is_metadata(marker):
        return b''
    return bytes([0xff, marker]) + struct.pack('>H', len(data) + 2) + data


def _decode(content: bytes, is_adobe: bool) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=['JPEG']) as image:
        if image.mode == 'CMYK' and not is_adobe:
            # Pillow inverts every CMYK image, but only Adobe's programs write inverted ones.
            inverted = (255 - np.asarray(image)).tobytes()
            return Image.frombytes('CMYK', image.size, inverted).convert('RGB')
        return image.convert('RGB')


def _orientation(exif: bytes) -> int:
    """Return the tag Orientation, or 1 if it is missing or damaged.

    EXIF data is a TIFF file without an image: a header, then directories of tags of 12 bytes.
    https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, section 4.6
    """
    order = {b'II*\0': '<', b'MM\0*': '>'}.get(exif[:4])
    try:
        directory, = struct.unpack_from(order + 'I', exif, 4)
        count, = struct.unpack_from(order + 'H', exif, directory)
        for i in range(count):
            tag, kind, length, value = struct.unpack_from(order + 'HHIH', exif,
                                                          directory + 2 + 12 * i)
            if tag == ORIENTATION:
                return value if (kind, length) == (SHORT, 1) else 1
    except (struct.error, TypeError):
        pass
    return 1

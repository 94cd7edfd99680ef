"""PNG decoder, with Pillow. As label_image/images/decode_png.cc.

Pillow's versions differ in how they treat damage and metadata. Here the chunks are checked first,
and Pillow receives only those that make pixels.
"""

import io
import struct
import zlib
from typing import Dict, Iterator, List

import numpy as np
from PIL import Image

from permafrost.datasets.images.bad_image import BadImage, check_size

SIGNATURE = b'\x89PNG\r\n\x1a\n'
PALETTE = 3  # colour type
CHANNELS = {0: 1, 2: 3, PALETTE: 1, 4: 2, 6: 4}  # by colour type
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# The passes of an interlaced image: first column and row, step of columns and of rows.
INTERLACED = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
              (0, 1, 1, 2))
READ_BYTES, FEED_BYTES = 1 << 20, 1 << 16  # pixels and compressed bytes at a time


def decode(content: bytes) -> Image.Image:
    """Decode a PNG file to RGB. Raises BadImage, or an exception of Pillow."""
    chunks = _critical_chunks(content)
    is_palette = chunks[b'IHDR'][0][17:18] == bytes([PALETTE])
    used = chunks[b'IHDR'] + (chunks[b'PLTE'] if is_palette else []) + chunks[b'IDAT'] + (
        chunks[b'IEND'])
    for chunk in used:
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], 'big'):
            raise BadImage(f'{chunk[4:8].decode()}: CRC error')
    palette = b''.join(chunk[8:-4] for chunk in chunks[b'PLTE'])
    _check_header(chunks[b'IHDR'][0][8:-4], b''.join(chunk[8:-4] for chunk in chunks[b'IDAT']))
    with Image.open(io.BytesIO(SIGNATURE + b''.join(used)), formats=['PNG']) as image:
        if is_palette:
            if len(chunks[b'PLTE']) != 1 or not palette or len(palette) % 3 or len(palette) > 768:
                raise BadImage('its palette is missing or damaged')
            colours = np.zeros((256, 3), np.uint8)  # those that the palette lacks are black
            colours[:len(palette) // 3] = np.frombuffer(palette, np.uint8).reshape(-1, 3)
            return Image.fromarray(colours[np.asarray(image)])
        if image.mode.startswith('I'):  # 16-bit grey
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
        return image.convert('RGB')


def _critical_chunks(content: bytes) -> Dict[bytes, List[bytes]]:
    """Return {name: chunks} of those that make pixels. Raise BadImage.

    Nothing else is looked at: text, profiles and animations may be of any kind.
    """
    chunks: Dict[bytes, List[bytes]] = {b'IHDR': [], b'PLTE': [], b'IDAT': [], b'IEND': []}
    position = len(SIGNATURE)
    while not chunks[b'IEND']:
        length, name = struct.unpack('>I4s', content[position:position + 8].ljust(8, b'\0'))
        chunk = content[position:position + 12 + length]
        if len(chunk) < 12 + length:
            raise BadImage('the file is truncated')
        if (name == b'IHDR') == bool(chunks[b'IHDR']):
            raise BadImage('its header is damaged')
        if name in chunks:
            chunks[name].append(chunk)
        elif not name[0] & 32:  # a small letter marks what a decoder may ignore
            raise BadImage('it has an unknown critical chunk')
        position += len(chunk)
    return chunks


def _check_header(header: bytes, compressed: bytes) -> None:
    """Raise BadImage if the pixels are not those that the header says."""
    if len(header) != 13:
        raise BadImage('its header is damaged')
    width, height, depth, colour, compression, filtering, interlaced = struct.unpack(
        '>IIBBBBB', header)
    check_size(width, height)
    if depth not in DEPTHS.get(colour, ()) or compression or filtering or interlaced > 1:
        raise BadImage('its header is damaged')
    missing = 0
    for left, top, step_x, step_y in INTERLACED if interlaced else [(0, 0, 1, 1)]:
        columns, rows = -(-(width - left) // step_x), -(-(height - top) // step_y)
        if columns > 0 and rows > 0:
            missing += rows * (1 + (columns * depth * CHANNELS[colour] + 7) // 8)
    for size in _inflated_sizes(compressed):
        missing -= size
        if missing < 0:
            raise BadImage('it has too many rows')
    if missing:
        raise BadImage('the file is truncated: it has too few rows')


def _inflated_sizes(compressed: bytes) -> Iterator[int]:
    """Inflate zlib data in pieces and yield the size of each. Raise BadImage if the end is missing.

    The data are fed in slices, since the inflater copies what it has not used yet.
    """
    inflater, position = zlib.decompressobj(), 0
    while not inflater.eof:
        fed = inflater.unconsumed_tail
        if not fed:
            fed = compressed[position:position + FEED_BYTES]
            position += len(fed)
        size = len(inflater.decompress(fed, READ_BYTES))
        if not (fed or size or inflater.eof):
            raise BadImage('the file is truncated')
        yield size

"""Photos are turned upright, as their EXIF data says, before they are classified."""

import struct

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from tests.label_image.program import LABELS, block, classify, expected, write_block_graph

ORIENTATION, SHORT, LONG = 0x112, 3, 4


def exif(*tags, order='<', directory=8, count=None):
    """Return EXIF data with `tags` (number, type, count, value)."""
    data = (b'II' if order == '<' else b'MM') + struct.pack(order + 'HI', 42, directory)
    data += struct.pack(order + 'H', len(tags) if count is None else count)
    for tag in tags:
        data += struct.pack(order + 'HHIHH', *tag, 0)
    return data + bytes(4)


def with_markers(jpeg, *contents):
    """Return the JPEG file with an APP1 marker for each of `contents` at its beginning."""
    markers = b''.join(b'\xff\xe1' + struct.pack('>H', len(c) + 2) + c for c in contents)
    return jpeg[:2] + markers + jpeg[2:]


@pytest.fixture(scope='module')
def corner(tmp_path_factory):
    """A graph that sees one block, and a JPEG file with another block there in each orientation."""
    folder = tmp_path_factory.mktemp('orientation')
    rows, columns = np.mgrid[:150, :201]
    pixels = np.stack([columns + 25, rows + 50, 0 * rows + 100], 2).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(str(folder / 'i.jpg'), quality=95)
    return write_block_graph(folder / 'block.pb'), (folder / 'i.jpg').read_bytes()


def seen_by_pillow(path):
    with PIL.Image.open(str(path)) as image:
        return expected(block(np.asarray(PIL.ImageOps.exif_transpose(image))))


@pytest.mark.parametrize('order', '<>')
def test_all_orientations_equal_pillow(program, corner, tmp_path, order):
    graph, jpeg = corner
    paths = [tmp_path / f'{number}.jpg' for number in range(1, 9)]
    for number, path in enumerate(paths, 1):
        data = exif((0x100, SHORT, 1, 201), (ORIENTATION, SHORT, 1, number), order=order)
        path.write_bytes(with_markers(jpeg, b'Exif\0\0' + data))
    answers = classify(program, graph, *paths)
    for path, answer in zip(paths, answers):
        assert answer == pytest.approx(seen_by_pillow(path), abs=0.012), path
    for i in range(8):  # the orientations must differ, or a wrong one would not show
        for j in range(i):
            assert max(abs(answers[i][label] - answers[j][label]) for label in LABELS) > 0.03


def test_exif_after_another_marker(program, corner, tmp_path):
    graph, jpeg = corner
    turned = b'Exif\0\0' + exif((ORIENTATION, SHORT, 1, 6))
    path = tmp_path / 'i.jpg'
    path.write_bytes(with_markers(jpeg, b'http://ns.adobe.com/xap/1.0/\0<x/>', turned))
    assert classify(program, graph, path)[0] == pytest.approx(seen_by_pillow(path), abs=0.012)


DAMAGED = [
    b'', b'II', b'II*\0', b'XX*\0' + bytes(30), exif(), exif((ORIENTATION, SHORT, 1, 0)),
    exif((ORIENTATION, SHORT, 1, 9)), exif((ORIENTATION, SHORT, 2, 6)),
    exif((ORIENTATION, LONG, 1, 0xffff)), exif((0x100, SHORT, 1, 6), count=0xffff),
    exif((ORIENTATION, SHORT, 1, 6))[:-9], exif((ORIENTATION, SHORT, 1, 6), directory=2 ** 32 - 1),
    exif((ORIENTATION, SHORT, 1, 6), directory=0), b'II*\0' + b'\xff' * 1000]


def test_damaged_exif_is_ignored(program, corner, tmp_path):
    graph, jpeg = corner
    paths = [tmp_path / f'{i}.jpg' for i in range(len(DAMAGED) + 1)]
    paths[0].write_bytes(jpeg)
    for path, data in zip(paths[1:], DAMAGED):
        path.write_bytes(with_markers(jpeg, b'Exif\0\0' + data))
    upright, *damaged = classify(program, graph, *paths)
    assert damaged == [upright] * len(DAMAGED)

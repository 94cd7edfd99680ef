"""The decoders in C++ and in Python accept and refuse the same files, and give the same pixels."""

import glob
import io
import os
import pathlib
import subprocess

import numpy as np
import pytest

from permafrost.datasets.images import image
from permafrost.datasets.images.bad_image import BadImage
from tests.datasets.images.crafted import crafted_files
from tests.label_image.program import FOLDER, execute
from tests.processes import ROOT

SUITES = os.environ.get('PERMAFROST_IMAGES', '')


@pytest.fixture(scope='module')
def decode(program, tmp_path_factory):
    """decode(paths): the images of the files, uint8 [H, W, 3], or why they are refused, in C++."""
    del program  # it builds the objects
    path = str(tmp_path_factory.mktemp('decode') / 'decode_images')
    objects = [os.path.join(FOLDER, 'build', name + '.o') for name in (
        'error', 'file', 'text', 'images/image', 'images/decode_png', 'images/decode_jpeg',
        'images/decode_bmp')]
    built = execute('g++', '-std=c++17', '-I' + FOLDER, '-o', path,
                    os.path.join(ROOT, 'tests', 'label_image', 'decode_images.cc'), *objects,
                    '-lpng', '-ljpeg')
    assert built.returncode == 0, built.stderr

    def run(paths):
        output = io.BytesIO(subprocess.run(
            [path], input='\n'.join(paths).encode(), stdout=subprocess.PIPE, check=True).stdout)
        images = []
        for _ in paths:
            first, second = output.readline().decode(errors='replace').rstrip('\n').split(' ', 1)
            if first == '-':
                images.append(second)
            else:
                width, height = int(first), int(second)
                pixels = np.frombuffer(output.read(3 * width * height), np.uint8)
                images.append(pixels.reshape(height, width, 3))
        return images
    return run


def differences(decode, paths):
    """Return a line for each file that the two programs see differently."""
    lines = []
    for start in range(0, len(paths), 100):
        some = paths[start:start + 100]
        for path, theirs in zip(some, decode(some)):
            try:
                ours = np.asarray(image.decode(pathlib.Path(path).read_bytes()))
            except BadImage as error:
                ours = str(error)
            if isinstance(ours, str) != isinstance(theirs, str):
                lines.append(f'{path}: in Python {ours if isinstance(ours, str) else "accepted"}; '
                             f'in C++ {theirs if isinstance(theirs, str) else "accepted"}')
            elif not isinstance(ours, str):
                # JPEG decoders of two versions may differ by a level.
                allowed = int(pathlib.Path(path).read_bytes()[:2] == b'\xff\xd8')
                if ours.shape != theirs.shape or np.abs(
                        ours.astype(int) - theirs).max() > allowed:
                    lines.append(f'{path}: other pixels')
    return lines


def test_crafted_files(decode, tmp_path):
    for name, (content, _) in crafted_files().items():
        (tmp_path / name).write_bytes(content)
    paths = sorted(map(str, tmp_path.iterdir()))
    assert len(paths) > 250
    assert differences(decode, paths) == []


def test_damaged_files(decode, tmp_path):
    """A byte of a file changes, or its end is lost; checksums are not repaired."""
    random = np.random.RandomState(4)
    paths = []
    for path in sorted(glob.glob(os.path.join(FOLDER, 'fuzz', 'corpus', '*.*[pg]'))):
        content = pathlib.Path(path).read_bytes()
        for i in range(6):
            mutant = bytearray(content)
            mutant[random.randint(len(mutant))] ^= 1 << random.randint(8)
            if i == 5:
                mutant = mutant[:random.randint(len(mutant))]
            paths.append(str(tmp_path / f'{i}-{os.path.basename(path)}'))
            pathlib.Path(paths[-1]).write_bytes(bytes(mutant))
    assert len(paths) > 300
    assert differences(decode, paths) == []


@pytest.mark.slow
@pytest.mark.skipif(not SUITES, reason='PERMAFROST_IMAGES names no folder of image files')
def test_suites(decode):
    paths = [path for path in glob.glob(os.path.join(SUITES, '**'), recursive=True)
             if path.lower().endswith(image.EXTENSIONS) and '\n' not in path]
    assert paths
    assert differences(decode, sorted(paths)) == []

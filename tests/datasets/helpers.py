"""Files for the tests of datasets: archives, image files, and directories of them."""

import hashlib
import io
import json
import os
import struct
import tarfile
import zlib

import numpy as np
from PIL import Image

from permafrost.datasets import packing
from permafrost.datasets.registry import DataFile

CLASSES = ['blue', 'green', 'red']
COLOURS = {'red': (200, 60, 60), 'green': (60, 200, 60), 'blue': (60, 60, 200)}
EXTENSIONS = ['png', 'jpg', 'bmp']
# Every mode of Pillow that each file format can store.
MODES = [('RGB', 'png'), ('RGBA', 'png'), ('L', 'png'), ('LA', 'png'), ('P', 'png'), ('1', 'png'),
         ('RGB', 'bmp'), ('L', 'bmp'), ('P', 'bmp'), ('1', 'bmp'), ('RGB', 'jpg'), ('L', 'jpg'),
         ('CMYK', 'jpg')]


def flip_bit(path, offset=5000):
    """Flip a bit of a file, whose size stays the same."""
    with open(str(path), 'r+b') as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ 1]))


def contents(directory):
    """Return {name: bytes} of the files in a directory; a dataset's without packing notes."""
    return {path.name: path.read_bytes() for path in directory.iterdir()
            if path.name != packing.NOTES}


def tar_gz(members):
    """Return the bytes of a .tar.gz with the files {name: content}."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w:gz') as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def write_cifar100(directory, train, test, seed=0):
    """Write train.bin and test.bin byte by byte; return (DataFiles with sha1, {split: labels})."""
    random, files, labels = np.random.RandomState(seed), [], {}
    directory.mkdir(exist_ok=True)
    for split, count in (('train', train), ('test', test)):
        labels[split] = random.permutation(np.arange(count) % 100)
        content = b''
        for label in labels[split]:
            planes = random.randint(0, 60, (3, 1024)) + 2 * int(label) % 190
            content += bytes([label // 5, label]) + planes.astype(np.uint8).tobytes()
        (directory / (split + '.bin')).write_bytes(content)
        checksum = hashlib.sha1(content).hexdigest()
        files.append(DataFile(split + '.bin', split, count, checksum))
    return tuple(files), labels


def arrays(size, num_classes, count=20):
    """Return random uint8 [count, size, size, 3] images, and labels with the lowest and highest."""
    random = np.random.RandomState(size)
    return (random.randint(0, 256, (count, size, size, 3)).astype(np.uint8),
            np.append(random.randint(0, num_classes, count - 2), [0, num_classes - 1]))


def smooth_colours(height, width):
    """Return uint8 [height, width, 3] without edges, which JPEG keeps."""
    rows, columns = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(rows / 9 + c) * np.cos(columns / 13 + 2 * c) for c in range(3)]
    return np.stack(planes, 2).astype(np.uint8)


def png_header_of(width, height):
    """Return a PNG whose header says width x height and that has only a few of the pixels."""
    def chunk(kind, content):
        return (struct.pack('>I', len(content)) + kind + content
                + struct.pack('>I', zlib.crc32(kind + content)))
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
            + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b''))


def make_images(directory, count, seed=0, sizes=(20, 60)):
    """Write noisy images of three classes into class folders; return their relative paths."""
    random = np.random.RandomState(seed)
    paths = []
    for i in range(count):
        name = CLASSES[i % 3]
        path = os.path.join(name, f'{i:04d}.{EXTENSIONS[i // 3 % 3]}')
        (directory / name).mkdir(parents=True, exist_ok=True)
        height, width = random.randint(sizes[0], sizes[1], 2)
        pixels = np.array(COLOURS[name]) + random.normal(0, 30, (height, width, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(str(directory / path))
        paths.append(path)
    return paths


def break_files(directory, paths):
    """Damage the files, in turn in five ways; return {path: part of the reason to report}."""
    ways = [(None, ''),  # truncated: each decoder has words of its own
            (b'some words\n', 'not a PNG, JPEG or BMP image'),
            (b'', 'the file is empty'),
            (png_header_of(70000, 70000), 'larger than the limit of 100 megapixels'),
            (png_header_of(3000, 3000), 'truncated')]
    reasons = {}
    for i, path in enumerate(paths):
        content, reasons[path] = ways[i % 5]
        if content is None:
            content = (directory / path).read_bytes()
            content = content[:len(content) // 2]
        (directory / path).write_bytes(content)
    return reasons


def pack(directory, output, image_size=16, test_fraction=0.25, threads=1):
    """Pack small images; return the exit code."""
    return packing.pack(str(directory), str(output), image_size, test_fraction, threads)


def read_manifest(output):
    return json.loads((output / 'manifest.json').read_text())

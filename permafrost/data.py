"""The data sets: where their files are, whether they are whole, what is in them.

Both are in CIFAR-10's binary format: records of a label byte, then the red, the green and
the blue plane of the image, each row-major. `permafrost.download` brings them here.
"""

import collections
import concurrent.futures
import hashlib
import json
import os
import typing

import numpy as np

from permafrost import config

IMAGE_SHAPE = (32, 32, 3)
RECORD_BYTES = 1 + 32 * 32 * 3
CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer',
           'dog', 'frog', 'horse', 'ship', 'truck')

File = collections.namedtuple('File', 'name split count sha256')

# The checksums are of the files in the canonical cifar-10-binary.tar.gz.
CIFAR10 = (
    File('data_batch_1.bin', 'train', 10000,
         'cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5'),
    File('data_batch_2.bin', 'train', 10000,
         'a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed'),
    File('data_batch_3.bin', 'train', 10000,
         'bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67'),
    File('data_batch_4.bin', 'train', 10000,
         '014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48'),
    File('data_batch_5.bin', 'train', 10000,
         '755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add'),
    File('test_batch.bin', 'test', 10000,
         '8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b'),
)

MEND = {
    'cifar10': 'run `make data`, or place the canonical file there by hand',
    'synthetic': 'make it again with data.make_synthetic',
}


class DataSet(typing.NamedTuple):
    """A data set whose files have been checked."""
    name: str
    directory: str
    classes: typing.Tuple[str, ...]  # by label
    image_shape: typing.Tuple[int, int, int]  # height, width, channels
    splits: typing.Dict[str, typing.List[str]]  # 'train' and 'test' -> paths
    counts: typing.Dict[str, int]  # 'train' and 'test' -> images


def cache_directory():
    return os.path.expanduser(os.environ.get('PERMAFROST_CACHE') or '~/.cache/permafrost')


def directory_of(name, data_dir=None):
    """The directory with the files of data set `name`: `data_dir` itself where one is given."""
    root = os.environ.get('PERMAFROST_DATA') or os.path.join(cache_directory(), 'data')
    return os.path.abspath(os.path.expanduser(data_dir or os.path.join(root, name)))


def _manifest(directory):
    path = os.path.join(directory, 'manifest.json')
    try:
        with open(path) as stream:
            return tuple(File(**row) for row in json.load(stream))
    except (OSError, ValueError, TypeError) as error:
        raise config.UserError('%s: not a synthetic data set (%s); %s'
                               % (path, error, MEND['synthetic'])) from error


FILES = {'cifar10': lambda directory: CIFAR10, 'synthetic': _manifest}


def size_problem(file, directory):
    """What is wrong with the file as far as its size tells, or None."""
    path = os.path.join(directory, file.name)
    expected = file.count * RECORD_BYTES
    try:
        size = os.path.getsize(path)
    except OSError as error:
        return '%s: %s' % (path, 'missing' if isinstance(error, FileNotFoundError)
                           else error.strerror)
    if size == expected:
        return None
    return '%s: too %s, %d bytes instead of %d' % (
        path, 'short' if size < expected else 'long', size, expected)


def content_problem(file, directory):
    """What is wrong with the bytes of the file, or None. Reads it in pieces of 3 MB."""
    path = os.path.join(directory, file.name)
    digest, highest = hashlib.sha256(), 0
    try:
        with open(path, 'rb') as stream:
            for records in iter(lambda: stream.read(1000 * RECORD_BYTES), b''):
                digest.update(records)
                highest = max(highest, max(records[::RECORD_BYTES]))
    except OSError as error:
        return '%s: %s' % (path, error.strerror)
    if digest.hexdigest() != file.sha256:
        return '%s: corrupt, its sha256 is %s... instead of %s...' % (
            path, digest.hexdigest()[:12], file.sha256[:12])
    if highest >= len(CLASSES):
        return '%s: corrupt, it has label %d; labels are 0 to %d' % (
            path, highest, len(CLASSES) - 1)
    return None


def problems(files, directory):
    """{file: what is wrong with it}. Sizes come first: they cost nothing."""
    found = {file: size_problem(file, directory) for file in files}
    whole = [file for file in files if not found[file]]
    # hashlib releases the interpreter's lock: two threads check the 184 MB in half the time
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found.update(zip(whole, pool.map(lambda file: content_problem(file, directory), whole)))
    return collections.OrderedDict((file, found[file]) for file in files if found[file])


def open_data_set(name, data_dir=None):
    """The DataSet `name`, every file of it checked: there, of its size, of its sha256.

    Raises UserError naming the first file that is not as it should be, UsageError for an
    unknown name.
    """
    if name not in FILES:
        raise config.nearest('data set', name, FILES)
    directory = directory_of(name, data_dir)
    files = FILES[name](directory)
    # content is read only once all sizes are right: a missing file is named at once
    for find in (lambda: filter(None, (size_problem(file, directory) for file in files)),
                 lambda: problems(files, directory).values()):
        for problem in find():
            raise config.UserError('%s; %s' % (problem, MEND[name]))
    of_split = {split: [file for file in files if file.split == split]
                for split in ('train', 'test')}
    return DataSet(
        name, directory, CLASSES, IMAGE_SHAPE,
        {split: [os.path.join(directory, file.name) for file in found]
         for split, found in of_split.items()},
        {split: sum(file.count for file in found) for split, found in of_split.items()})


def decode(records):
    """uint8 [N, 3073] records -> (uint8 [N, 32, 32, 3] images, int64 [N] labels)."""
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].astype(np.int64)


def encode(images, labels):
    """The inverse of decode; `images` may also be [N, 1024, 3]."""
    records = np.empty((len(labels), RECORD_BYTES), np.uint8)
    records[:, 0] = labels
    records[:, 1:].reshape(-1, 3, 1024)[...] = images.reshape(-1, 1024, 3).transpose(0, 2, 1)
    return records


def load(data_set, split):
    """(uint8 [N, 32, 32, 3] images, int64 [N] labels) of 'train' or 'test', in file order."""
    if split not in data_set.splits:
        raise config.nearest('split', split, data_set.splits)
    images = np.empty((data_set.counts[split],) + data_set.image_shape, np.uint8)
    labels = np.empty(len(images), np.int64)
    start = 0
    for path in data_set.splits[split]:
        records = np.fromfile(path, np.uint8).reshape(-1, RECORD_BYTES)
        stop = start + len(records)
        images[start:stop], labels[start:stop] = decode(records)
        start = stop
    return images, labels


def make_synthetic(directory, train=640, test=500, files=2, seed=1):
    """Writes a learnable data set for tests and returns it opened.

    A class is a colour and a direction of stripes; where the stripes start, and the noise, are
    random. Classes are equally frequent; `train` images lie in `files` files, `test` in one.
    """
    random = np.random.RandomState(seed)
    rows, columns = np.mgrid[:32, :32]
    angles = np.pi * np.arange(10) / 10
    colours = 128 + 50 * np.cos(2 * np.pi * (np.arange(10)[:, None] / 10 + np.arange(3) / 3))
    parts = [('train_%d.bin' % i, 'train', len(part))
             for i, part in enumerate(np.array_split(np.arange(train), files), 1)]
    manifest = []
    os.makedirs(directory, exist_ok=True)
    for name, split, count in parts + [('test.bin', 'test', test)]:
        labels = random.permutation(np.arange(count) % 10)
        slope = angles[labels][:, None, None]
        phase = random.uniform(0, 2 * np.pi, (count, 1, 1))
        stripes = np.sin((rows * np.sin(slope) + columns * np.cos(slope)) * 0.8 + phase)
        images = (colours[labels][:, None, None] + 40 * stripes[..., None]
                  + random.normal(0, 25, (count,) + IMAGE_SHAPE))
        records = encode(images.clip(0, 255).astype(np.uint8), labels)
        records.tofile(os.path.join(directory, name))
        manifest.append(File(name, split, count,
                             hashlib.sha256(records.tobytes()).hexdigest())._asdict())
    config.write_json(os.path.join(directory, 'manifest.json'), manifest)
    return open_data_set('synthetic', directory)

"""The data sets: where their files are, whether they are whole, what is in them.

Each is files of records of one size (see `records`). `permafrost.download` brings CIFAR-10 and
CIFAR-100 here; `permafrost.packing` makes one of a directory of images.
"""

import collections
import concurrent.futures
import hashlib
import json
import os
import typing

import numpy as np

from permafrost import config, records, tfrecords
from permafrost.records import decode, encode

IMAGE_SHAPE = (32, 32, 3)
CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer',
           'dog', 'frog', 'horse', 'ship', 'truck')
CLASSES100 = tuple("""
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split())

# `checksum` is a sha256, or a sha1, which is shorter.
File = collections.namedtuple('File', 'name split count checksum')

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

# As MXNet's gluon/data/vision/datasets.py has them for the canonical cifar-100-binary.tar.gz,
# whose md5 is 03b5dce01913d631647c71ecec9e9cb8.
CIFAR100 = (
    File('train.bin', 'train', 50000, 'e207cd2e05b73b1393c74c7f5e7bea451d63e08e'),
    File('test.bin', 'test', 10000, '8fb6623e830365ff53cf14adec797474f5478006'),
)

PACKED = 'tfrecords'  # the name of every data set that is a directory of its own
FORMAT = 'permafrost tfrecords 1'  # of its manifest
MANIFEST = 'manifest.json'
MEND = {
    'cifar10': 'run `make data`, or place the canonical file there by hand',
    'cifar100': 'run `make data ARGS=--data_set=cifar100`, or place the canonical file there '
                'by hand',
    'synthetic': 'make it again with data.make_synthetic',
    PACKED: 'run tools/make_tfrecords.py again, or name the directory where it is now',
}
MOST_HASHED = 4e9  # bytes of a data set; of a larger one only the sizes are checked at each start


class Description(typing.NamedTuple):
    """What a data set should be, before any of its files is looked at."""
    classes: typing.Tuple[str, ...]
    layout: records.Layout
    files: typing.Tuple[File, ...]


class DataSet(typing.NamedTuple):
    """A data set whose files have been checked."""
    name: str
    directory: str
    classes: typing.Tuple[str, ...]  # by label
    image_shape: typing.Tuple[int, int, int]  # height, width, channels
    splits: typing.Dict[str, typing.List[str]]  # 'train' and 'test' -> paths
    counts: typing.Dict[str, int]  # 'train' and 'test' -> images
    layout: records.Layout = records.CIFAR10
    identity: str = ''  # sha256 of its classes, shape and files' checksums: where it lies is free


def cache_directory():
    return os.path.expanduser(os.environ.get('PERMAFROST_CACHE') or '~/.cache/permafrost')


def directory_of(name, data_dir=None):
    """The directory with the files of data set `name`: `data_dir` itself where one is given."""
    root = os.environ.get('PERMAFROST_DATA') or os.path.join(cache_directory(), 'data')
    return os.path.abspath(os.path.expanduser(data_dir or os.path.join(root, name)))


def resolve(name, data_dir=None):
    """(name, directory or None) of a data set that is called by its name or by its directory.

    Raises UsageError where it is neither.
    """
    if name in SETS and (name != PACKED or data_dir):
        return name, data_dir and os.path.expanduser(data_dir)
    if not os.path.isdir(name) and os.sep not in name:
        raise config.UsageError('%s; or name a directory that tools/make_tfrecords.py made'
                                % config.nearest('data set', name, set(SETS) - {PACKED}))
    if data_dir is not None:
        raise config.UsageError('--data_set=%s is a directory: leave --data_dir out' % name)
    return PACKED, os.path.expanduser(name)


def open_of_run(settings, name=None, data_dir=None):
    """The DataSet of the run with the Config `settings`, where `name` or `data_dir` say it is now.

    Raises UsageError where `name` is of another, else as open_data_set.
    """
    if name is not None:
        name, data_dir = resolve(name, data_dir)
        if name != settings.data_set:
            raise config.UsageError(
                'this run was trained on %s, not on %s: leave --data_set out' % (
                    title(settings.data_set, settings.data_dir), title(name, data_dir)))
    return open_data_set(settings.data_set, data_dir or settings.data_dir)


def title(name, data_dir=None):
    """What results call a data set: its name, or that of its directory."""
    return name if name != PACKED else os.path.basename(directory_of(name, data_dir))


def _read_json(path, name):
    try:
        with open(path) as stream:
            return json.load(stream)
    except (OSError, ValueError) as error:
        if name == PACKED and isinstance(error, FileNotFoundError):
            directory = os.path.dirname(path)
            raise config.UserError('%s: %s; name a directory that tools/make_tfrecords.py made' % (
                directory, 'it has no %s' % MANIFEST if os.path.isdir(directory)
                else 'no such directory')) from error
        reason = getattr(error, 'strerror', None) or error
        raise config.UserError('%s: %s; %s' % (path, reason, MEND[name])) from error


def _described(name, directory, describe):
    """Calls `describe(value)` for the value of the manifest; what it lacks is a UserError."""
    path = os.path.join(directory, MANIFEST)
    value = _read_json(path, name)
    try:
        return describe(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise config.UserError('%s: not the manifest of a data set (%s %s); %s' % (
            path, type(error).__name__, error, MEND[name])) from error


def _synthetic(directory):
    return _described('synthetic', directory, lambda rows: Description(
        CLASSES, records.CIFAR10, tuple(File(**row) for row in rows)))


def _packed(directory):
    def describe(value):
        if value['format'] != FORMAT:
            raise ValueError('of format %r' % value['format'])
        classes = tuple(map(str, value['classes']))
        return Description(classes, tfrecords.layout(int(value['image_size']), len(classes)),
                           tuple(File(**row) for row in value['files']))
    return _described(PACKED, directory, describe)


SETS = {
    'cifar10': lambda directory: Description(CLASSES, records.CIFAR10, CIFAR10),
    'cifar100': lambda directory: Description(CLASSES100, records.CIFAR100, CIFAR100),
    'synthetic': _synthetic,
    PACKED: _packed,
}


def describe(name, data_dir=None):
    """The Description of a data set by name or directory; none of its records is read.

    Raises UsageError for an unknown name, UserError for a manifest that cannot be used.
    """
    name, data_dir = resolve(name, data_dir)
    return SETS[name](directory_of(name, data_dir))


def size_problem(file, directory, layout=records.CIFAR10):
    """What is wrong with the file as far as its size tells, or None."""
    path = os.path.join(directory, file.name)
    expected = file.count * layout.size
    try:
        size = os.path.getsize(path)
    except OSError as error:
        return '%s: %s' % (path, 'missing' if isinstance(error, FileNotFoundError)
                           else error.strerror)
    if size == expected:
        return None
    return '%s: too %s, %d bytes instead of %d' % (
        path, 'short' if size < expected else 'long', size, expected)


def new_digest(file):
    """An empty hash of the kind that the file's checksum is."""
    return hashlib.sha1() if len(file.checksum) == 40 else hashlib.sha256()


def content_problem(file, directory, classes=CLASSES, layout=records.CIFAR10):
    """What is wrong with the bytes of the file, or None. Reads it in pieces of about 3 MB."""
    path = os.path.join(directory, file.name)
    digest = new_digest(file)
    highest, piece = 0, max(1, 3000000 // layout.size) * layout.size
    try:
        with open(path, 'rb') as stream:
            for content in iter(lambda: stream.read(piece), b''):
                digest.update(content)
                rows = np.frombuffer(content, np.uint8).reshape(-1, layout.size)
                highest = max(highest, records.labels_of(rows, layout).max())
    except OSError as error:
        return '%s: %s' % (path, error.strerror)
    if digest.hexdigest() != file.checksum:
        return '%s: corrupt, its %s is %s... instead of %s...' % (
            path, digest.name, digest.hexdigest()[:12], file.checksum[:12])
    if highest >= len(classes):
        return '%s: corrupt, it has label %d; labels are 0 to %d' % (
            path, highest, len(classes) - 1)
    return None


def problems(files, directory, classes=CLASSES, layout=records.CIFAR10):
    """{file: what is wrong with it}. Sizes come first: they cost nothing."""
    found = {file: size_problem(file, directory, layout) for file in files}
    whole = [file for file in files if not found[file]]
    if sum(file.count for file in whole) * layout.size <= MOST_HASHED:
        # hashlib releases the interpreter's lock: two threads check 184 MB in half the time
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found.update(zip(whole, pool.map(
                lambda file: content_problem(file, directory, classes, layout), whole)))
    return collections.OrderedDict((file, found[file]) for file in files if found[file])


def open_data_set(name, data_dir=None):
    """The DataSet `name`, or in the directory `name`, every file checked: its size, its checksum.

    Raises UserError naming the first file that is not as it should be, UsageError for an
    unknown name.
    """
    name, data_dir = resolve(name, data_dir)
    directory = directory_of(name, data_dir)
    classes, layout, files = SETS[name](directory)
    # content is read only once all sizes are right: a missing file is named at once
    for find in (lambda: filter(None, (size_problem(file, directory, layout) for file in files)),
                 lambda: problems(files, directory, classes, layout).values()):
        for problem in find():
            raise config.UserError('%s; %s' % (problem, MEND[name]))
    of_split = {split: [file for file in files if file.split == split]
                for split in ('train', 'test')}
    return DataSet(
        title(name, data_dir), directory, classes, layout.shape,
        {split: [os.path.join(directory, file.name) for file in found]
         for split, found in of_split.items()},
        {split: sum(file.count for file in found) for split, found in of_split.items()},
        layout, _identity(classes, layout, files))


def _identity(classes, layout, files):
    return hashlib.sha256(json.dumps([classes, layout.shape, files]).encode()).hexdigest()


def load(data_set, split):
    """(uint8 [N, H, W, 3] images, int64 [N] labels) of 'train' or 'test', in file order.

    Raises UserError where there are none, or more than memory takes.
    """
    if split not in data_set.splits:
        raise config.nearest('split', split, data_set.splits)
    if not data_set.counts[split]:
        raise config.UserError('%s has no %s image' % (data_set.directory, split))
    check_memory(data_set, split)
    images = np.empty((data_set.counts[split],) + data_set.image_shape, np.uint8)
    labels = np.empty(len(images), np.int64)
    start = 0
    for path in data_set.splits[split]:
        rows = np.fromfile(path, np.uint8).reshape(-1, data_set.layout.size)
        stop = start + len(rows)
        images[start:stop], labels[start:stop] = decode(rows, data_set.layout)
        start = stop
    return images, labels


def pick(data_set, split, every):
    """Every so many-th image of `split`, uint8 [n, H, W, 3]: only those are read."""
    found, first = [], 0
    for path in filter(os.path.getsize, data_set.splits[split]):  # an empty file is not mapped
        rows = np.memmap(path, np.uint8, 'r').reshape(-1, data_set.layout.size)
        found.append(decode(rows[first::every], data_set.layout)[0])
        first = (first - len(rows)) % every
    return np.concatenate(found)


def check_memory(data_set, split):
    """Raises UserError where the images of `split` would take most of the machine's memory."""
    needed = data_set.counts[split] * data_set.layout.image_bytes
    there = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if needed > 0.7 * there:
        raise config.UserError(
            '%.1f GB of %s images do not fit in %.1f GB of memory: train with --source=stream; '
            'for evaluation, make a smaller data set' % (needed / 1e9, split, there / 1e9))


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
        content = encode(images.clip(0, 255).astype(np.uint8), labels)
        content.tofile(os.path.join(directory, name))
        manifest.append(File(name, split, count,
                             hashlib.sha256(content.tobytes()).hexdigest())._asdict())
    config.write_json(os.path.join(directory, MANIFEST), manifest)
    return open_data_set('synthetic', directory)

"""The data sets: where their files are, whether they are whole, what is in them.

Each is files of records of one size (see `records`). `permafrost.download` brings CIFAR-10 and
CIFAR-100 here; `permafrost.packing` makes one of a directory of images.
"""

import collections
import hashlib
import json
import os
import typing

from permafrost import files
from permafrost.datasets import record_format, tfrecord
from permafrost.errors import UsageError, UserError, unknown_name_error
IMAGE_SHAPE = (32, 32, 3)
CIFAR10_CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer',
           'dog', 'frog', 'horse', 'ship', 'truck')
CIFAR100_CLASSES = tuple("""
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split())

# `checksum` is a sha256, or a sha1, which is shorter.
DataFile = collections.namedtuple('File', 'name split count checksum')

# The checksums are of the files in the canonical cifar-10-binary.tar.gz.
CIFAR10_FILES = (
    DataFile('data_batch_1.bin', 'train', 10000,
         'cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5'),
    DataFile('data_batch_2.bin', 'train', 10000,
         'a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed'),
    DataFile('data_batch_3.bin', 'train', 10000,
         'bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67'),
    DataFile('data_batch_4.bin', 'train', 10000,
         '014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48'),
    DataFile('data_batch_5.bin', 'train', 10000,
         '755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add'),
    DataFile('test_batch.bin', 'test', 10000,
         '8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b'),
)

# As MXNet's gluon/data/vision/datasets.py has them for the canonical cifar-100-binary.tar.gz,
# whose md5 is 03b5dce01913d631647c71ecec9e9cb8.
CIFAR100_FILES = (
    DataFile('train.bin', 'train', 50000, 'e207cd2e05b73b1393c74c7f5e7bea451d63e08e'),
    DataFile('test.bin', 'test', 10000, '8fb6623e830365ff53cf14adec797474f5478006'),
)

TFRECORDS = 'tfrecords'  # the name of every data set that is a directory of its own
FORMAT = 'permafrost tfrecords 1'  # of its manifest
MANIFEST = 'manifest.json'
HOW_TO_FIX = {
    'cifar10': 'run `make data`, or place the canonical file there by hand',
    'cifar100': 'run `make data ARGS=--data_set=cifar100`, or place the canonical file there '
                'by hand',
    'synthetic': 'make it again with data.make_synthetic',
    TFRECORDS: 'run tools/make_tfrecords.py again, or name the directory where it is now',
}


class DatasetSpec(typing.NamedTuple):
    """What a data set should be, before any of its files is looked at."""
    classes: typing.Tuple[str, ...]
    layout: record_format.RecordFormat
    files: typing.Tuple[DataFile, ...]


def dataset_dir(name, data_dir=None):
    """The directory with the files of data set `name`: `data_dir` itself where one is given."""
    root = os.environ.get('PERMAFROST_DATA') or os.path.join(files.cache_dir(), 'data')
    return os.path.abspath(os.path.expanduser(data_dir or os.path.join(root, name)))


def resolve(name, data_dir=None):
    """(name, directory or None) of a data set that is called by its name or by its directory.

    Raises UsageError where it is neither.
    """
    if name in DATASETS and (name != TFRECORDS or data_dir):
        return name, data_dir and os.path.expanduser(data_dir)
    if not os.path.isdir(name) and os.sep not in name:
        raise UsageError('%s; or name a directory that tools/make_tfrecords.py made'
                                % unknown_name_error('data set', name, set(DATASETS) - {TFRECORDS}))
    if data_dir is not None:
        raise UsageError('--data_set=%s is a directory: leave --data_dir out' % name)
    return TFRECORDS, os.path.expanduser(name)


def display_name(name, data_dir=None):
    """What results call a data set: its name, or that of its directory."""
    return name if name != TFRECORDS else os.path.basename(dataset_dir(name, data_dir))


def _read_json(path, name):
    try:
        with open(path) as stream:
            return json.load(stream)
    except (OSError, ValueError) as error:
        if name == TFRECORDS and isinstance(error, FileNotFoundError):
            directory = os.path.dirname(path)
            raise UserError('%s: %s; name a directory that tools/make_tfrecords.py made' % (
                directory, 'it has no %s' % MANIFEST if os.path.isdir(directory)
                else 'no such directory')) from error
        reason = getattr(error, 'strerror', None) or error
        raise UserError('%s: %s; %s' % (path, reason, HOW_TO_FIX[name])) from error


def _described(name, directory, describe):
    """Calls `describe(value)` for the value of the manifest; what it lacks is a UserError."""
    path = os.path.join(directory, MANIFEST)
    value = _read_json(path, name)
    try:
        return describe(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError('%s: not the manifest of a data set (%s %s); %s' % (
            path, type(error).__name__, error, HOW_TO_FIX[name])) from error


def _synthetic(directory):
    return _described('synthetic', directory, lambda rows: DatasetSpec(
        CIFAR10_CLASSES, record_format.CIFAR10, tuple(DataFile(**row) for row in rows)))


def _packed(directory):
    def describe(value):
        if value['format'] != FORMAT:
            raise ValueError('of format %r' % value['format'])
        classes = tuple(map(str, value['classes']))
        return DatasetSpec(classes, tfrecord.format_of(int(value['image_size']), len(classes)),
                           tuple(DataFile(**row) for row in value['files']))
    return _described(TFRECORDS, directory, describe)


DATASETS = {
    'cifar10': lambda directory: DatasetSpec(CIFAR10_CLASSES, record_format.CIFAR10, CIFAR10_FILES),
    'cifar100': lambda directory: DatasetSpec(CIFAR100_CLASSES, record_format.CIFAR100, CIFAR100_FILES),
    'synthetic': _synthetic,
    TFRECORDS: _packed,
}


def describe(name, data_dir=None):
    """The Description of a data set by name or directory; none of its records is read.

    Raises UsageError for an unknown name, UserError for a manifest that cannot be used.
    """
    name, data_dir = resolve(name, data_dir)
    return DATASETS[name](dataset_dir(name, data_dir))


def _identity(classes, layout, files):
    return hashlib.sha256(json.dumps([classes, layout.shape, files]).encode()).hexdigest()

"""The datasets: their names, classes, files and checksums, and the directories they lie in."""

import dataclasses
import hashlib
import json
import os
import re
from typing import Any, List, NamedTuple, Optional, Tuple

from permafrost import files, schema
from permafrost.cli.commands import next_command
from permafrost.datasets import tfrecord
from permafrost.datasets.record_format import CIFAR10, CIFAR100, RecordFormat
from permafrost.errors import UsageError, UserError, printable, unknown_name_error
from permafrost.schema import limited

IMAGE_SHAPE = CIFAR10.image_shape
CIFAR10_CLASSES: Tuple[str, ...] = ('airplane', 'automobile', 'bird', 'cat', 'deer',
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


@dataclasses.dataclass(frozen=True)
class DataFile:
    """The expected name, split, count and checksum of a file of records."""
    name: str = limited(
        test=lambda name: re.fullmatch(r'(?!\.\.?$)[^/]{1,255}', name) and name.isprintable(),
        meaning='the name of a file in that directory')
    split: str = limited(names=('train', 'test'))
    count: int = limited(minimum=0, maximum=10**12)  # number of images
    checksum: str = limited(test=re.compile('[0-9a-f]{40}|[0-9a-f]{64}').fullmatch,
                            meaning='a hexadecimal sha256, or sha1')

    def new_digest(self, content: bytes = b'') -> Any:
        """Return a hash of `content` by the algorithm of `checksum`."""
        return hashlib.new('sha1' if len(self.checksum) == 40 else 'sha256', content)


# Of the files in the canonical cifar-10-binary.tar.gz.
CIFAR10_SHA256 = {
    'data_batch_1.bin': 'cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5',
    'data_batch_2.bin': 'a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed',
    'data_batch_3.bin': 'bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67',
    'data_batch_4.bin': '014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48',
    'data_batch_5.bin': '755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add',
    'test_batch.bin': '8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b',
}
CIFAR10_FILES = tuple(
    DataFile(name, 'test' if name.startswith('test') else 'train', 10000, checksum)
    for name, checksum in CIFAR10_SHA256.items())

# From MXNet's gluon/data/vision/datasets.py, for the canonical cifar-100-binary.tar.gz (md5
# 03b5dce01913d631647c71ecec9e9cb8).
CIFAR100_FILES = (
    DataFile('train.bin', 'train', 50000, 'e207cd2e05b73b1393c74c7f5e7bea451d63e08e'),
    DataFile('test.bin', 'test', 10000, '8fb6623e830365ff53cf14adec797474f5478006'),
)

TFRECORDS = 'tfrecords'  # the name of every dataset that is a directory made by packing
DATASETS = ('cifar10', 'cifar100', 'synthetic', TFRECORDS)
FORMAT = 'permafrost tfrecords 1'  # the format of its manifest
MANIFEST = 'manifest.json'
SHARD_NAME = re.compile(r'(train|test)-[0-9]{5}-of-[0-9]{5}\.tfrecord')
NOTES = '.packing'  # the folder of the state of packing


@dataclasses.dataclass
class Manifest:
    """The fields of the manifest.json that packing writes; others are for readers."""
    format: str = limited(names=(FORMAT,))
    classes: Tuple[str, ...] = limited(
        count=(1, 1000000), test=schema.is_utf8, meaning='text in UTF-8')
    image_size: int = limited(minimum=1, maximum=4096)
    files: Tuple[DataFile, ...] = limited(count=(1, 1000000))


class DatasetSpec(NamedTuple):
    """The contents that a dataset should have. Making one reads no records."""
    classes: Tuple[str, ...]  # by label
    record_format: RecordFormat
    files: Tuple[DataFile, ...]

    def identity(self) -> str:
        """Return a sha256 of classes, image shape and files. It does not depend on the place."""
        content = [self.classes, self.record_format.image_shape,
                   [dataclasses.astuple(file) for file in self.files]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def dataset_dir(name: str, data_dir: Optional[str] = None) -> str:
    """Return the directory of dataset `name`: `data_dir` if given, else the default one."""
    root = os.environ.get('PERMAFROST_DATA') or os.path.join(files.cache_dir(), 'data')
    return os.path.abspath(os.path.expanduser(data_dir or os.path.join(root, name)))


def resolve(dataset: str, data_dir: Optional[str] = None) -> Tuple[str, Optional[str]]:
    """Return (name, directory or None) of a dataset that is given by name or by directory.

    Raises UsageError if `dataset` is neither, or if it is a directory and `data_dir` is given too.
    """
    if dataset in DATASETS and (dataset != TFRECORDS or data_dir):
        return dataset, data_dir and os.path.expanduser(data_dir)
    if not os.path.isdir(dataset) and os.sep not in dataset:
        error = unknown_name_error('dataset', dataset, ('cifar10', 'cifar100'))
        command = next_command('tools/make_tfrecords.py')
        raise UsageError(f'{error}; or give a directory made by `{command}`')
    if data_dir is not None:
        raise UsageError(f'--dataset={dataset} is a directory: leave --data_dir out')
    return TFRECORDS, os.path.expanduser(dataset)


def how_to_fix(name: str) -> str:
    """Return what the user can do if files of the dataset `name` are missing or damaged."""
    if name == 'synthetic':
        return 'make it again with permafrost.datasets.synthetic.make_synthetic'
    if name == TFRECORDS:
        return (f'pack it again with `{next_command("tools/make_tfrecords.py")} DIR OUT`, or give '
                'the directory where the dataset is now')
    arguments = [] if name == 'cifar10' else [f'--dataset={name}']
    return (f'run `{next_command("tools/get_data.py", *arguments)}`, or copy the canonical file '
            'there by hand')


def display_name(name: str, data_dir: Optional[str] = None) -> str:
    """Return the name of a dataset in results: its own, or that of its directory."""
    return name if name != TFRECORDS else os.path.basename(dataset_dir(name, data_dir))


def describe(dataset: str, data_dir: Optional[str] = None) -> DatasetSpec:
    """Return the DatasetSpec of a dataset that is given by name or by directory.

    Raises UsageError if the name is unknown, UserError if the manifest is missing or damaged.
    """
    name, data_dir = resolve(dataset, data_dir)
    if name == 'cifar10':
        return DatasetSpec(CIFAR10_CLASSES, CIFAR10, CIFAR10_FILES)
    if name == 'cifar100':
        return DatasetSpec(CIFAR100_CLASSES, CIFAR100, CIFAR100_FILES)
    return _read_manifest(name, dataset_dir(name, data_dir))


def _read_manifest(name: str, directory: str) -> DatasetSpec:
    path = os.path.join(directory, MANIFEST)
    try:
        if name == 'synthetic':
            rows = schema.read(path, List[DataFile], how_to_fix(name))
            classes, record_format = CIFAR10_CLASSES, CIFAR10
        else:
            manifest = schema.read(path, Manifest, how_to_fix(name))
            classes, rows = tuple(manifest['classes']), manifest['files']
            record_format = tfrecord.format_of(manifest['image_size'], len(classes))
    except OSError as error:
        if name == TFRECORDS and isinstance(error, FileNotFoundError) and _is_unpacked(directory):
            command = next_command('tools/make_tfrecords.py', directory, 'OUT')
            raise UserError(f'{printable(directory)} is not a packed dataset: it has no '
                            f'{MANIFEST}. Run `{command}`, then use --dataset OUT') from None
        if os.path.isfile(directory):
            raise UserError(f'{printable(directory)} is a file: name the directory of a packed '
                            'dataset with --dataset') from None
        if isinstance(error, PermissionError):
            raise UserError(f'{printable(path)}: {error.strerror}: make it readable') from None
        if not os.path.lexists(directory):
            raise UserError(f'no directory {printable(directory)}: {how_to_fix(name)}') from None
        raise UserError(f'{printable(path)}: {error.strerror}; {how_to_fix(name)}') from None
    return DatasetSpec(classes, record_format, tuple(DataFile(**row) for row in rows))


def _is_unpacked(directory: str) -> bool:
    """Return whether `directory` exists and holds nothing that packing writes."""
    return os.path.isdir(directory) and not any(
        name == NOTES or SHARD_NAME.fullmatch(name) for name in os.listdir(directory))

"""Loading."""

import collections
import hashlib
import os
import typing

import concurrent.futures
import numpy as np

from permafrost.datasets import record_format, registry
from permafrost.errors import UsageError, UserError, unknown_name_error
MAX_HASHED_BYTES = 4e9  # bytes of a data set; of a larger one only the sizes are checked at each start


class Dataset(typing.NamedTuple):
    """A data set whose files have been checked."""
    name: str
    directory: str
    classes: typing.Tuple[str, ...]  # by label
    image_shape: typing.Tuple[int, int, int]  # height, width, channels
    splits: typing.Dict[str, typing.List[str]]  # 'train' and 'test' -> paths
    counts: typing.Dict[str, int]  # 'train' and 'test' -> images
    layout: record_format.RecordFormat = record_format.CIFAR10
    identity: str = ''  # sha256 of its classes, shape and files' checksums: where it lies is free


def open_for_run(settings, name=None, data_dir=None):
    """The DataSet of the run with the Config `settings`, where `name` or `data_dir` say it is now.

    Raises UsageError where `name` is of another, else as open_data_set.
    """
    if name is not None:
        name, data_dir = registry.resolve(name, data_dir)
        if name != settings.dataset:
            raise UsageError(
                'this run was trained on %s, not on %s: leave --data_set out' % (
                    registry.display_name(settings.dataset, settings.data_dir), registry.display_name(name, data_dir)))
    return open_dataset(settings.dataset, data_dir or settings.data_dir)


def size_problem(file, directory, layout=record_format.CIFAR10):
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


def content_problem(file, directory, classes=registry.CIFAR10_CLASSES, layout=record_format.CIFAR10):
    """What is wrong with the bytes of the file, or None. Reads it in pieces of about 3 MB."""
    path = os.path.join(directory, file.name)
    digest = new_digest(file)
    highest, piece = 0, max(1, 3000000 // layout.size) * layout.size
    try:
        with open(path, 'rb') as stream:
            for content in iter(lambda: stream.read(piece), b''):
                digest.update(content)
                rows = np.frombuffer(content, np.uint8).reshape(-1, layout.size)
                highest = max(highest, record_format.labels_of(rows, layout).max())
    except OSError as error:
        return '%s: %s' % (path, error.strerror)
    if digest.hexdigest() != file.checksum:
        return '%s: corrupt, its %s is %s... instead of %s...' % (
            path, digest.name, digest.hexdigest()[:12], file.checksum[:12])
    if highest >= len(classes):
        return '%s: corrupt, it has label %d; labels are 0 to %d' % (
            path, highest, len(classes) - 1)
    return None


def find_problems(files, directory, classes=registry.CIFAR10_CLASSES, layout=record_format.CIFAR10):
    """{file: what is wrong with it}. Sizes come first: they cost nothing."""
    found = {file: size_problem(file, directory, layout) for file in files}
    whole = [file for file in files if not found[file]]
    if sum(file.count for file in whole) * layout.size <= MAX_HASHED_BYTES:
        # hashlib releases the interpreter's lock: two threads check 184 MB in half the time
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found.update(zip(whole, pool.map(
                lambda file: content_problem(file, directory, classes, layout), whole)))
    return collections.OrderedDict((file, found[file]) for file in files if found[file])


def open_dataset(name, data_dir=None):
    """The DataSet `name`, or in the directory `name`, every file checked: its size, its checksum.

    Raises UserError naming the first file that is not as it should be, UsageError for an
    unknown name.
    """
    name, data_dir = registry.resolve(name, data_dir)
    directory = registry.dataset_dir(name, data_dir)
    classes, layout, files = registry.DATASETS[name](directory)
    # content is read only once all sizes are right: a missing file is named at once
    for find in (lambda: filter(None, (size_problem(file, directory, layout) for file in files)),
                 lambda: find_problems(files, directory, classes, layout).values()):
        for problem in find():
            raise UserError('%s; %s' % (problem, registry.HOW_TO_FIX[name]))
    of_split = {split: [file for file in files if file.split == split]
                for split in ('train', 'test')}
    return Dataset(
        registry.display_name(name, data_dir), directory, classes, layout.shape,
        {split: [os.path.join(directory, file.name) for file in found]
         for split, found in of_split.items()},
        {split: sum(file.count for file in found) for split, found in of_split.items()},
        layout, registry._identity(classes, layout, files))


def load(dataset, split):
    """(uint8 [N, H, W, 3] images, int64 [N] labels) of 'train' or 'test', in file order.

    Raises UserError where there are none, or more than memory takes.
    """
    if split not in dataset.splits:
        raise unknown_name_error('split', split, dataset.splits)
    if not dataset.counts[split]:
        raise UserError('%s has no %s image' % (dataset.directory, split))
    check_memory(dataset, split)
    images = np.empty((dataset.counts[split],) + dataset.image_shape, np.uint8)
    labels = np.empty(len(images), np.int64)
    start = 0
    for path in dataset.splits[split]:
        rows = np.fromfile(path, np.uint8).reshape(-1, dataset.layout.size)
        stop = start + len(rows)
        images[start:stop], labels[start:stop] = record_format.decode(rows, dataset.layout)
        start = stop
    return images, labels


def every_nth(dataset, split, every):
    """Every so many-th image of `split`, uint8 [n, H, W, 3]: only those are read."""
    found, first = [], 0
    for path in filter(os.path.getsize, dataset.splits[split]):  # an empty file is not mapped
        rows = np.memmap(path, np.uint8, 'r').reshape(-1, dataset.layout.size)
        found.append(record_format.decode(rows[first::every], dataset.layout)[0])
        first = (first - len(rows)) % every
    return np.concatenate(found)


def check_memory(dataset, split):
    """Raises UserError where the images of `split` would take most of the machine's memory."""
    needed = dataset.counts[split] * dataset.layout.image_bytes
    there = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if needed > 0.7 * there:
        raise UserError(
            '%.1f GB of %s images do not fit in %.1f GB of memory: train with --source=stream; '
            'for evaluation, make a smaller data set' % (needed / 1e9, split, there / 1e9))

"""Open a dataset: verify its files and read their images and labels into arrays."""

import concurrent.futures
import contextlib
import errno
import hashlib
import os
import stat
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from permafrost import files, machine
from permafrost.config import Config
from permafrost.datasets import registry
from permafrost.datasets.record_format import CIFAR10, RecordFormat, decode, map_records
from permafrost.datasets.registry import DataFile, DatasetSpec
from permafrost.errors import UsageError, UserError, printable

MAX_HASHED_BYTES = 4e9  # of a larger dataset only the file sizes are checked
CHUNK_RECORDS = 1000  # to hash at a time


class Dataset(NamedTuple):
    """A dataset whose files have been verified."""
    name: str
    directory: str
    classes: Tuple[str, ...]  # by label
    image_shape: Tuple[int, int, int]  # height, width, channels
    splits: Dict[str, List[str]]  # 'train' and 'test' -> paths
    counts: Dict[str, int]  # 'train', 'test' and perhaps 'validation' -> number of images
    record_format: RecordFormat = CIFAR10
    identity: str = ''  # see DatasetSpec.identity
    held_out: Tuple[int, ...] = ()  # images in the files of 'train' that are 'validation' instead


def open_dataset(dataset: str, data_dir: Optional[str] = None) -> Dataset:
    """Open a dataset, given by name or by directory, and verify sizes and checksums of its files.

    Raises UsageError if the name is unknown, UserError if a file is missing or damaged.
    """
    name, data_dir = registry.resolve(dataset, data_dir)
    directory = registry.dataset_dir(name, data_dir)
    spec = registry.describe(name, directory)
    # A wrong size is reported at once, before gigabytes are read.
    problems = find_size_problems(spec, directory) or find_problems(spec, directory)
    for problem in problems.values():
        raise UserError(f'{problem}; {registry.how_to_fix(name)}')
    splits = {split: [os.path.join(directory, file.name) for file in spec.files
                      if file.split == split] for split in ('train', 'test')}
    counts = {split: sum(file.count for file in spec.files if file.split == split)
              for split in splits}
    return Dataset(registry.display_name(name, data_dir), directory, spec.classes,
                   spec.record_format.image_shape, splits, counts, spec.record_format,
                   spec.identity())


def open_for_run(config: Config, dataset: Optional[str] = None,
                 data_dir: Optional[str] = None) -> Dataset:
    """Open the dataset of the run of `config`; `data_dir` says where it is if it has moved.

    It holds out the same validation images as the training. Raises UsageError if `dataset` is given
    and is another one, UserError if `config` does not fit the dataset; else as `open_dataset`.
    """
    if dataset is not None:
        dataset, data_dir = registry.resolve(dataset, data_dir)
        if dataset != config.dataset:
            own_name = registry.display_name(config.dataset, config.data_dir)
            raise UsageError(f'this run was trained on {own_name}, not on '
                             f'{registry.display_name(dataset, data_dir)}: leave --dataset out')
    try:
        return open_and_hold_out(config.dataset, data_dir or config.data_dir, config.validation,
                                 config.seed)
    except UsageError as error:  # no flag is wrong, but the config.json
        raise UserError(f'cannot open the dataset of this run ({error}): restore its config.json, '
                        'or check --data_dir')


def open_and_hold_out(dataset: str, data_dir: Optional[str], count: int, seed: int) -> Dataset:
    """Open a dataset as `open_dataset` does, with `count` images held out as by `hold_out`."""
    return hold_out(open_dataset(dataset, data_dir), count, seed)


def hold_out(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Return `dataset` with `count` of its training images as the split 'validation'.

    Each class gives the same share of its images, chosen by `seed`: the same ones on every machine.
    It keeps at least one to train on, unless `count` is too large for that.
    Raises UsageError if no image would be left to train on.
    """
    total = dataset.counts['train']
    if not count:
        return dataset
    if count >= total:
        raise UsageError(f'--validation={count} leaves none of the {total} training images of '
                         f'{dataset.name} to train on: use fewer')
    labels = np.concatenate([_labels(path, dataset.record_format)
                             for path in dataset.splits['train']])
    sizes = np.bincount(labels, minlength=len(dataset.classes))
    held_out: List[int] = []
    for label, share in enumerate(_shares(sizes, count)):
        key = hashlib.sha256(f'validation/{seed}/{label}'.encode()).digest()
        random = np.random.RandomState(np.frombuffer(key, '<u4'))
        held_out += random.permutation(np.flatnonzero(labels == label))[:share].tolist()
    counts = dict(dataset.counts, train=total - count, validation=count)
    return dataset._replace(counts=counts, held_out=tuple(sorted(held_out)))


def _shares(sizes: np.ndarray, count: int) -> np.ndarray:
    """Return how many of `count` images each class gives, int64 [classes], for its size.

    The largest remainders are rounded up. `count` must be less than the sum of `sizes`.
    """
    shares, remainders = np.divmod(sizes * count, sizes.sum())
    while shares.sum() < count:
        spare = np.flatnonzero(shares + 1 < sizes)
        givers = spare[np.argsort(-remainders[spare], kind='stable')]
        if not len(givers):  # only now does a class give its last image
            givers = np.flatnonzero(shares < sizes)
        shares[givers[:count - shares.sum()]] += 1
    return shares


def _labels(path: str, record_format: RecordFormat) -> np.ndarray:
    """Return the labels in a file, int64 [N]."""
    records = map_records(path, record_format)
    return np.concatenate([decode(records[first:first + CHUNK_RECORDS], record_format)[1]
                           for first in range(0, max(len(records), 1), CHUNK_RECORDS)])


def rows_of(dataset: Dataset, split: str) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """Yield, for each file of a split, its records (uint8, mapped) and the rows of its images."""
    first = 0
    for path in dataset.splits['train' if split == 'validation' else split]:
        records = map_records(path, dataset.record_format)
        rows = np.arange(len(records))
        if dataset.held_out and split != 'test':
            is_held_out = np.isin(rows + first, dataset.held_out)
            rows = rows[is_held_out == (split == 'validation')]
        yield records, rows
        first += len(records)


def find_size_problems(spec: DatasetSpec, directory: str) -> Dict[DataFile, str]:
    """Return {file: problem} of the files that are missing or have a wrong size."""
    problems = {}
    for file in spec.files:
        path = os.path.join(directory, file.name)
        expected = file.count * spec.record_format.record_bytes
        try:
            status = os.stat(path)
            size = status.st_size
            if not stat.S_ISREG(status.st_mode):
                problems[file] = f'{path}: not a regular file'
            elif size != expected:
                adjective = 'short' if size < expected else 'long'
                problems[file] = f'{path}: too {adjective}, {size} bytes instead of {expected}'
        except OSError as error:
            problems[file] = f'{path}: ' + (
                'missing' if error.errno == errno.ENOENT else error.strerror)
    return problems


def find_problems(spec: DatasetSpec, directory: str) -> Dict[DataFile, str]:
    """Return {file: problem} of the files with a wrong size, checksum or label.

    Of more than MAX_HASHED_BYTES, it checks the sizes alone.
    """
    problems = find_size_problems(spec, directory)
    rest = [file for file in spec.files if file not in problems]
    if sum(file.count for file in rest) * spec.record_format.record_bytes <= MAX_HASHED_BYTES:
        # hashlib releases the interpreter's lock: two threads check 184 MB in half the time.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found = pool.map(lambda file: content_problem(file, directory, spec), rest)
            problems.update((file, problem) for file, problem in zip(rest, found) if problem)
    return problems


def content_problem(file: DataFile, directory: str, spec: DatasetSpec) -> Optional[str]:
    """Return the problem with the bytes of a file, or None. Reads it in chunks."""
    path = os.path.join(directory, file.name)
    record_bytes = spec.record_format.record_bytes
    digest, max_label = file.new_digest(), 0
    try:
        with files.open_regular(path) as stream:
            for chunk in iter(lambda: stream.read(CHUNK_RECORDS * record_bytes), b''):
                digest.update(chunk)
                records = np.frombuffer(chunk, np.uint8).reshape(-1, record_bytes)
                max_label = max(max_label, decode(records, spec.record_format)[1].max())
    except OSError as error:
        return f'{path}: {error.strerror}'
    checksum = digest.hexdigest()
    if checksum != file.checksum:
        return f'{path}: corrupt, its checksum is {checksum[:12]}..., not {file.checksum[:12]}...'
    if max_label >= len(spec.classes):
        return (f'{path}: corrupt, it has label {max_label}; labels are 0 to '
                f'{len(spec.classes) - 1}')
    return None


def change_detector(dataset: Dataset) -> Callable[[], None]:
    """Return a function that raises UserError if the packed `dataset` has been packed again.

    Packing removes the manifest before it replaces a shard. So what was read before a call that
    raises nothing is of `dataset`. The manifest is read again only if it is another file.
    """
    known: List[Any] = []

    def check() -> None:
        identity = ''
        with contextlib.suppress(OSError, UserError):
            with open(os.path.join(dataset.directory, registry.MANIFEST)) as stream:
                status = os.fstat(stream.fileno())  # NFS asks the server when a file is opened
            state = status.st_ino, status.st_mtime_ns
            if state in known:
                return
            identity = registry.describe(registry.TFRECORDS, dataset.directory).identity()
            known[:] = [state]
        if identity != dataset.identity:
            raise UserError(
                f'{printable(dataset.directory)} was packed again, or removed, while training: put '
                'the earlier dataset back and continue with --resume, or start a new run')

    return check


def load(dataset: Dataset, split: str) -> Tuple[np.ndarray, np.ndarray]:
    """Return (images uint8 [N, H, W, C], labels int64 [N]) of a split, in file order.

    Raises UserError if the split is empty or does not fit in memory.
    """
    _check_not_empty(dataset, split)
    check_memory(dataset, split)
    images = np.empty((dataset.counts[split],) + dataset.image_shape, np.uint8)
    labels = np.empty(len(images), np.int64)
    start = 0
    for records, rows in rows_of(dataset, split):
        for first in range(0, len(rows), CHUNK_RECORDS):
            chunk = decode(records[rows[first:first + CHUNK_RECORDS]], dataset.record_format)
            stop = start + len(chunk[1])
            images[start:stop], labels[start:stop] = chunk
            start = stop
    return images, labels


def _check_not_empty(dataset: Dataset, split: str) -> None:
    """Raise UserError if a split has no images."""
    if not dataset.counts.get(split):
        advice = {'validation': ': training with --validation N holds some out',
                  'test': ': pack it with --test_fraction above 0'}.get(split, '')
        raise UserError(f'{printable(dataset.directory)} has no {split} images{advice}')


def load_first(dataset: Dataset, split: str, count: int) -> Tuple[np.ndarray, np.ndarray]:
    """Return what `load` does, of the first `count` images, without reading the others."""
    _check_not_empty(dataset, split)
    return pick(dataset, split, np.arange(min(count, dataset.counts[split])))


def every_nth(dataset: Dataset, split: str, n: int) -> np.ndarray:
    """Return every n-th image of a split, uint8 [N, H, W, C], without reading the others."""
    return pick(dataset, split, np.arange(0, dataset.counts[split], n))[0]


def evenly_spaced(dataset: Dataset, split: str, count: int) -> np.ndarray:
    """Return `count` images of a split, or all if it has fewer, without reading the others."""
    total = dataset.counts[split]
    count = min(count, total)
    return pick(dataset, split, np.arange(count, dtype=np.int64) * total // max(count, 1))[0]


def pick(dataset: Dataset, split: str, numbers: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of a split at `numbers`, which are sorted, as `load` does."""
    images, labels, first = [], [], 0
    for records, rows in rows_of(dataset, split):
        begin, end = np.searchsorted(numbers, [first, first + len(rows)])
        chunk = decode(records[rows[numbers[begin:end] - first]], dataset.record_format)
        images.append(chunk[0])
        labels.append(chunk[1])
        first += len(rows)
    return np.concatenate(images), np.concatenate(labels)


def check_memory(dataset: Dataset, split: str, held_out: int = 0) -> None:
    """Raise UserError if the images of a split need over 70 % of the memory that is left.

    `held_out` images of its files are loaded with it.
    """
    needed = (dataset.counts[split] + held_out) * dataset.record_format.record_bytes
    memory = machine.available_memory()  # a container may have less than the machine
    if memory is None:
        memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if needed > 0.7 * memory:
        advice = ('train with --source=stream' if split == 'train' else
                  'make a dataset with fewer of them')
        raise UserError(f'{needed / 1e9:.1f} GB of {split} images need more than 70 % of '
                        f'{memory / 1e9:.1f} GB of free memory: {advice}')

"""Open a dataset: verify its files and read their images and labels into arrays."""

import concurrent.futures
import errno
import os
import stat
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from permafrost import files, runtime
from permafrost.config import Config
from permafrost.datasets import registry
from permafrost.datasets.record_format import CIFAR10, RecordFormat, decode, map_records
from permafrost.datasets.registry import DataFile, DatasetSpec
from permafrost.errors import UsageError, UserError

MAX_HASHED_BYTES = 4e9  # of a larger dataset only the file sizes are checked
CHUNK_RECORDS = 1000  # to hash at a time


class Dataset(NamedTuple):
    """A dataset whose files have been verified."""
    name: str
    directory: str
    classes: Tuple[str, ...]  # by label
    image_shape: Tuple[int, int, int]  # height, width, channels
    splits: Dict[str, List[str]]  # 'train' and 'test' -> paths
    counts: Dict[str, int]  # 'train' and 'test' -> number of images
    record_format: RecordFormat = CIFAR10
    identity: str = ''  # see DatasetSpec.identity


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
        raise UserError(f'{problem}; {registry.HOW_TO_FIX[name]}')
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

    Raises UsageError if `dataset` is given and is another one; else as `open_dataset`.
    """
    if dataset is not None:
        dataset, data_dir = registry.resolve(dataset, data_dir)
        if dataset != config.dataset:
            own_name = registry.display_name(config.dataset, config.data_dir)
            raise UsageError(f'this run was trained on {own_name}, not on '
                             f'{registry.display_name(dataset, data_dir)}: leave --dataset out')
    return open_dataset(config.dataset, data_dir or config.data_dir)


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
    """Return {file: problem} of the files with a wrong size, checksum or label."""
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


def load(dataset: Dataset, split: str) -> Tuple[np.ndarray, np.ndarray]:
    """Return (images uint8 [N, H, W, C], labels int64 [N]) of a split, in file order.

    Raises UserError if the split is empty or does not fit in memory.
    """
    if not dataset.counts[split]:
        raise UserError(f'{dataset.directory} has no {split} images')
    check_memory(dataset, split)
    images = np.empty((dataset.counts[split],) + dataset.image_shape, np.uint8)
    labels = np.empty(len(images), np.int64)
    start = 0
    for path in dataset.splits[split]:
        records = map_records(path, dataset.record_format)
        stop = start + len(records)
        images[start:stop], labels[start:stop] = decode(records, dataset.record_format)
        start = stop
    return images, labels


def every_nth(dataset: Dataset, split: str, n: int) -> np.ndarray:
    """Return every n-th image of a split, uint8 [N, H, W, C], without reading the others."""
    images, first = [], 0
    for path in dataset.splits[split]:
        records = map_records(path, dataset.record_format)
        images.append(decode(records[first::n], dataset.record_format)[0])
        first = (first - len(records)) % n
    return np.concatenate(images)


def check_memory(dataset: Dataset, split: str) -> None:
    """Raise UserError if the images of a split need over 70 % of the memory that is left."""
    needed = dataset.counts[split] * dataset.record_format.record_bytes
    memory = (runtime.available_memory() or  # a container may have less than the machine
              os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))
    if needed > 0.7 * memory:
        raise UserError(f'{needed / 1e9:.1f} GB of {split} images do not fit in {memory / 1e9:.1f} '
                        'GB of memory: train with --source=stream; for evaluation, make a smaller '
                        'dataset')

"""Open a dataset: verify its files and read their images and labels into arrays."""

import concurrent.futures
import hashlib
import os
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from permafrost.config import Config
from permafrost.datasets import registry
from permafrost.datasets.record_format import (
    CIFAR10, RecordFormat, decode, decode_labels, map_records)
from permafrost.errors import UsageError, UserError, unknown_name_error

MAX_HASHED_BYTES = 4e9  # of a larger dataset only the file sizes are checked
CHUNK_BYTES = 3000000  # read at a time for checksums


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
    # Sizes first, for all files: they cost nothing, so a missing file is reported at once.
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


def find_size_problems(spec: registry.DatasetSpec, directory: str) -> Dict[registry.DataFile, str]:
    """Return {file: problem} of the files that are missing or have a wrong size."""
    problems = {}
    for file in spec.files:
        path = os.path.join(directory, file.name)
        expected = file.count * spec.record_format.record_bytes
        try:
            size = os.path.getsize(path)
            if size != expected:
                adjective = 'short' if size < expected else 'long'
                problems[file] = f'{path}: too {adjective}, {size} bytes instead of {expected}'
        except OSError as error:
            is_missing = isinstance(error, FileNotFoundError)
            problems[file] = f'{path}: ' + ('missing' if is_missing else error.strerror)
    return problems


def find_problems(spec: registry.DatasetSpec, directory: str) -> Dict[registry.DataFile, str]:
    """Return {file: problem} of the files with a wrong size, a wrong checksum or a wrong label."""
    problems = find_size_problems(spec, directory)
    files = [file for file in spec.files if file not in problems]
    if sum(file.count for file in files) * spec.record_format.record_bytes <= MAX_HASHED_BYTES:
        # hashlib releases the interpreter's lock: two threads check 184 MB in half the time.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found = pool.map(lambda file: content_problem(file, directory, spec), files)
            problems.update((file, problem) for file, problem in zip(files, found) if problem)
    return problems


def content_problem(file: registry.DataFile, directory: str,
                    spec: registry.DatasetSpec) -> Optional[str]:
    """Return the problem with the bytes of a file, or None."""
    path = os.path.join(directory, file.name)
    record_bytes = spec.record_format.record_bytes
    chunk_bytes = max(1, CHUNK_BYTES // record_bytes) * record_bytes
    digest, max_label = hashlib.new(file.algorithm), 0
    try:
        with open(path, 'rb') as stream:
            for chunk in iter(lambda: stream.read(chunk_bytes), b''):
                digest.update(chunk)
                records = np.frombuffer(chunk, np.uint8).reshape(-1, record_bytes)
                max_label = max(max_label, decode_labels(records, spec.record_format).max())
    except OSError as error:
        return f'{path}: {error.strerror}'
    if digest.hexdigest() != file.checksum:
        return (f'{path}: corrupt, its {digest.name} is {digest.hexdigest()[:12]}... '
                f'instead of {file.checksum[:12]}...')
    if max_label >= len(spec.classes):
        return (f'{path}: corrupt, it has label {max_label}; '
                f'labels are 0 to {len(spec.classes) - 1}')
    return None


def load(dataset: Dataset, split: str) -> Tuple[np.ndarray, np.ndarray]:
    """Return (images uint8 [N, H, W, C], labels int64 [N]) of a split, in file order.

    Raises UserError if the split is empty or does not fit in memory.
    """
    if split not in dataset.splits:
        raise unknown_name_error('split', split, dataset.splits)
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
    """Raise UserError if the images of a split need over 70 % of the machine's memory."""
    needed = dataset.counts[split] * dataset.record_format.image_bytes
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if needed > 0.7 * memory:
        raise UserError(f'{needed / 1e9:.1f} GB of {split} images do not fit in {memory / 1e9:.1f} '
                        'GB of memory: train with --source=stream; for evaluation, make a smaller '
                        'dataset')

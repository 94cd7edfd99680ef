"""Pack class folders, or TFRecords of other programs, into a dataset: shards and manifest.json.

Each finished shard has a note, `.packing/<shard>.json`. A later run keeps the shards whose notes
and images have not changed, so an interrupted run continues and ends with the same bytes.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import math
import os
import re
import sys
from typing import Any, Dict, List, Sequence, Tuple, Union

import numpy as np

from permafrost import files, schema
from permafrost.cli.progress import Progress
from permafrost.datasets import examples, image_folder, registry, tfrecord
from permafrost.datasets.image_folder import SPLITS, ImageFolder, Item
from permafrost.datasets.images import image
from permafrost.datasets.images.bad_image import BadImage
from permafrost.datasets.registry import NOTES
from permafrost.errors import UsageError, UserError, printable

SHARD_IMAGES, SHARD_BYTES = 1000, 64e6  # about the most that an interruption can cost
# A shard, its note, or a temporary file of either (see files.write_atomically).
OWN_NAME = re.compile(rf'(\.)?({registry.SHARD_NAME.pattern})(\.json)?(?(1)\.[0-9a-f]+\.tmp)')
# Advice if no images are held out, for each ImageFolder.split_by.
HOLD_OUT = {'hash': 'set --test_fraction', 'the folders train and test':
            'put class folders into test', 'the names of the files': 'add files of test images'}
MAX_IMAGE_SIZE = 1024  # pixels

Note = Dict[str, Any]  # of a shard: see _write_shard


@dataclasses.dataclass(frozen=True)
class NoteFile(registry.DataFile):
    """The fields of the note of a shard."""
    # mypy takes `limited` in the base class for a default.
    fingerprint: str  # type: ignore[misc]
    per_class: Tuple[int, ...]  # type: ignore[misc]  # images
    sum: Tuple[int, ...] = schema.limited(count=(3, 3))
    sum_of_squares: Tuple[int, ...] = schema.limited(count=(3, 3))
    bad: Dict[str, str]  # type: ignore[misc]


def pack(directory: str, output: str, image_size: int, test_fraction: float, threads: int) -> int:
    """Pack images into the dataset `output`, and print a report.

    `directory` has class folders (see image_folder.scan) or TFRecord files (see examples.scan).

    `output` must be new, empty, or made by an earlier run. Returns the exit code: 1 if files could
    not be used, else 0. Raises UserError.
    """
    def fail_if_locked() -> None:
        raise UserError(f'another process is packing into {printable(output)}: wait for it')

    if not math.isfinite(test_fraction):  # comparisons with nan are false: the flag accepts it
        raise UsageError(f'--test_fraction={test_fraction} must be a number from 0 to 0.9')
    _check_output(directory, output)
    records = examples.find(directory)
    folder = (examples.scan(directory, records, test_fraction) if records else
              image_folder.scan(directory, test_fraction))
    try:
        os.makedirs(os.path.join(output, NOTES), exist_ok=True)
        with files.locked(os.path.join(output, NOTES, 'lock'), fail_if_locked):
            notes = _write_shards(directory, output, folder, image_size, threads)
            bad = {printable(path): reason for path, reason in folder.bad.items()}
            manifest = _write_manifest(output, folder.classes, image_size, notes, bad)
    except OSError as error:
        raise UserError(f'{error.filename or output}: {error.strerror}; fix that and run this '
                        'again: it continues where it stopped') from error
    except MemoryError as error:
        raise UserError('out of memory: run this again with fewer --threads: it continues where it '
                        'stopped') from error
    except SystemExit:
        _log('stopped; run this again to continue')
        raise
    _report(output, manifest, folder, test_fraction)
    return 1 if manifest['bad'] else 0


def write(output: str, classes: Sequence[str],
          splits: Dict[str, Tuple[np.ndarray, np.ndarray]]) -> None:
    """Write arrays, {split: (images uint8 [N, size, size, 3], labels)}, as a dataset."""
    os.makedirs(os.path.join(output, NOTES), exist_ok=True)
    notes = []
    for split, (images, labels) in splits.items():
        names = _shard_names(split, len(images), images.shape[1], len(classes))
        for name, rows in zip(names, np.array_split(np.arange(len(images)), len(names))):
            notes.append(_write_shard(output, name, images[rows], labels[rows], len(classes), {}))
    _write_manifest(output, list(classes), images.shape[1], notes, {})


def _check_output(directory: str, output: str) -> None:
    """Raise UserError if `output` lies in `directory` or holds files that are not ours."""
    if os.path.realpath(output).startswith(os.path.realpath(directory) + os.sep):
        raise UserError(f'{printable(output)} is in {printable(directory)}: choose an output '
                        'directory elsewhere')
    is_packed = os.path.isdir(os.path.join(output, NOTES))
    for name in sorted(os.listdir(output)) if os.path.isdir(output) else ():
        is_ours = is_packed and (name == registry.MANIFEST or registry.SHARD_NAME.fullmatch(name))
        if not name.startswith('.') and not is_ours:
            raise UserError(f'{printable(output)} holds other files, such as {printable(name)}: '
                            'choose an empty or a new directory')


def _write_shards(directory: str, output: str, folder: ImageFolder, image_size: int,
                  threads: int) -> List[Note]:
    """Write the shards that are missing or out of date; return the notes of all, in order."""
    def decode(item: Item) -> Union[np.ndarray, Exception]:
        try:
            if item.offset:
                return image.decode_square(examples.read(directory, item), image_size)
            return image.read(os.path.join(directory, item.file), image_size)
        except (BadImage, OSError) as error:
            return error

    shards = _assign_to_shards(folder, image_size)
    total, num_classes, notes = sum(map(len, shards.values())), len(folder.classes), []
    # Threads are enough: Pillow releases the interpreter's lock while it decodes and resizes.
    with Progress('packing', total, _log, 'images') as progress, \
            concurrent.futures.ThreadPoolExecutor(threads) as executor:
        for name, items in shards.items():
            fingerprint = _fingerprint(directory, items, num_classes, image_size)
            note_path = os.path.join(output, NOTES, name + '.json')
            notes.append(schema.read_if_valid(note_path, NoteFile, {}))
            if _is_current(notes[-1], fingerprint, os.path.join(output, name)):
                progress.add(len(items))
                continue
            with contextlib.suppress(FileNotFoundError):  # no dataset until all are complete again
                os.unlink(os.path.join(output, registry.MANIFEST))
            images, labels, errors = [], [], {}
            for item, result in zip(items, executor.map(decode, items)):
                if isinstance(result, Exception):
                    errors[item.path] = result
                else:
                    images.append(result)
                    labels.append(item.label)
                progress.add(1)
            pixels = np.array(images, np.uint8).reshape(-1, image_size, image_size, 3)
            bad = {printable(path): printable(getattr(error, 'strerror', None) or str(error))
                   for path, error in errors.items()}
            notes[-1] = _write_shard(output, name, pixels, np.array(labels, int), num_classes, bad)
            # Without a note the next run tries the bad files again.
            if all(isinstance(error, BadImage) for error in errors.values()):
                files.write_json(note_path, dict(notes[-1], fingerprint=fingerprint))
    return notes


def _shard_names(split: str, count: int, image_size: int, num_classes: int) -> List[str]:
    """Return the names of the shards for `count` images."""
    record_bytes = tfrecord.format_of(image_size, num_classes).record_bytes
    num_shards = -(-count // max(1, min(SHARD_IMAGES, int(SHARD_BYTES / record_bytes))))
    return [f'{split}-{i:05d}-of-{num_shards:05d}.tfrecord' for i in range(num_shards)]


def _assign_to_shards(folder: ImageFolder, image_size: int) -> Dict[str, List[Item]]:
    """Return {name: images} of the shards. The key of an image decides which one it is in."""
    shards: Dict[str, List[Item]] = {}
    for split, items in folder.items.items():
        names = _shard_names(split, len(items), image_size, len(folder.classes))
        shards.update((name, []) for name in names)
        for item in items:
            shards[names[item.key * len(names) >> 64]].append(item)
    return shards


def _fingerprint(directory: str, items: List[Item], num_classes: int, image_size: int) -> str:
    """Return a hash that changes with everything that a shard is made from."""
    digest = hashlib.sha256(repr((registry.FORMAT, image_size, num_classes)).encode())
    for item in items:
        try:
            status = os.stat(os.path.join(directory, item.file))
            state = status.st_size, status.st_mtime_ns
        except OSError as error:
            state = error.errno, 0
        digest.update(repr((os.fsencode(item.path), item.label, state)).encode())
    return digest.hexdigest()


def _is_current(note: Note, fingerprint: str, path: str) -> bool:
    """Return whether the shard at `path` is complete and up to date."""
    if note.get('fingerprint') != fingerprint or not os.path.exists(path):
        return False
    with open(path, 'rb') as stream:
        return hashlib.sha256(stream.read()).hexdigest() == note['checksum']


def _write_shard(output: str, name: str, images: np.ndarray, labels: np.ndarray,
                 num_classes: int, bad: Dict[str, str]) -> Note:
    """Write a shard; return the fields of its DataFile and its statistics."""
    content = tfrecord.encode(images, labels, num_classes).tobytes()
    files.write_atomically(os.path.join(output, name), content)
    return {
        'name': name, 'split': name.split('-')[0], 'count': len(images),
        'checksum': hashlib.sha256(content).hexdigest(),
        'per_class': np.bincount(labels, minlength=num_classes).tolist(),
        'sum': images.sum((0, 1, 2), dtype=np.int64).tolist(),
        'sum_of_squares': np.einsum('nhwc,nhwc->c', images, images, dtype=np.int64).tolist(),
        'bad': bad}


def _write_manifest(output: str, classes: List[str], image_size: int, notes: List[Note],
                    bad: Dict[str, str]) -> Dict[str, Any]:
    """Write the manifest and return it; remove the shards and notes of an earlier packing."""
    def total(split: str, field: str) -> np.ndarray:
        return sum((np.array(note[field]) for note in notes if note['split'] == split),
                   np.zeros_like(notes[0][field]))

    bad = dict(bad, **{path: reason for note in notes for path, reason in note['bad'].items()})
    counts = {split: int(total(split, 'count')) for split in SPLITS}
    if not counts['train']:
        reasons = [f'no file could be used, for example {path}: {reason}'
                   for path, reason in bad.items()]
        reasons.append('all are held out; lower --test_fraction')
        raise UserError(f'there are no images to train on: {reasons[0]}')
    values = counts['train'] * image_size ** 2 * 255.
    mean = total('train', 'sum') / values
    variance = total('train', 'sum_of_squares') / values / 255 - mean ** 2
    manifest = {
        'format': registry.FORMAT, 'classes': classes, 'image_size': image_size, 'counts': counts,
        'counts_per_class': {split: total(split, 'per_class').tolist() for split in SPLITS},
        'mean': mean.round(6).tolist(), 'std': np.sqrt(np.maximum(variance, 0)).round(6).tolist(),
        'mean_and_std_of': 'channels R, G, B of the training images, scaled to 0..1',
        'files': [{field.name: note[field.name] for field in dataclasses.fields(registry.DataFile)}
                  for note in notes],
        'bad': bad}
    files.write_json(os.path.join(output, registry.MANIFEST), manifest)
    names = {note['name'] for note in notes}
    for folder in (output, os.path.join(output, NOTES)):
        for name in os.listdir(folder):
            match = OWN_NAME.fullmatch(name)
            if match and (match.group(1) or match.group(2) not in names):
                os.unlink(os.path.join(folder, name))
    return manifest


def _report(output: str, manifest: Dict[str, Any], folder: ImageFolder,
            test_fraction: float) -> None:
    for path, reason in sorted(manifest['bad'].items()):
        _log(f'bad: {path}: {reason}')
    for kind, count in sorted(folder.ignored.items()):
        print(f'ignored: {kind}: {count}')
    by_hash = folder.split_by == 'hash'
    print(f'split: by {folder.split_by}' + (f', --test_fraction={test_fraction:g}' * by_hash))
    counts, size = manifest['counts'], manifest['image_size']
    per_class = manifest['counts_per_class']
    if not counts['test']:
        print('note: no images are held out, so the accuracy stays unknown: '
              f'{HOLD_OUT[folder.split_by]}')
    for split in SPLITS:
        without = [name for name, count in zip(manifest['classes'], per_class[split]) if not count]
        if counts[split] and without:
            print(f'note: classes without {split} images: {len(without)} of '
                  f'{len(manifest["classes"])}: {", ".join(without[:3])}'
                  f'{", ..." if len(without) > 3 else ""}')
    print(f'packed: {sum(counts.values())} images of {len(manifest["classes"])} classes, '
          f'{size}x{size}, {counts["train"]} to train and {counts["test"]} to test, '
          f'in {printable(output)}')
    if manifest['bad']:
        _log(f'files that could not be used, see above: {len(manifest["bad"])}')


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)

"""Pack a directory of class folders into a dataset: TFRecord shards and their manifest.json.

Each finished shard has a note, `.packing/<shard>.json`. A later run keeps the shards whose notes
and images have not changed, so an interrupted run continues and ends with the same bytes.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import os
import re
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from permafrost import files
from permafrost.datasets import image_files, image_folder, registry, tfrecord
from permafrost.datasets.image_folder import SPLITS, ImageFolder, Item, printable
from permafrost.errors import UserError

NOTES = '.packing'
SHARD_IMAGES, SHARD_BYTES = 1000, 64e6  # about the most that an interruption can cost
SHARD_NAME = re.compile(r'(train|test)-[0-9]{5}-of-[0-9]{5}\.tfrecord')
MAX_IMAGE_SIZE = 1024  # pixels

Note = Dict[str, Any]  # of a shard: see _write_shard


def pack(directory: str, output: str, image_size: int, test_fraction: float, threads: int) -> int:
    """Pack class folders (see image_folder.scan) into the dataset `output`, and print a report.

    `output` must be new, empty, or made by an earlier run. `threads` threads decode images and
    resize them to `image_size` pixels square. Returns the exit code: 1 if files could not be used,
    else 0. Raises UserError.
    """
    def fail_if_locked() -> None:
        raise UserError(f'another process is packing into {printable(output)}: wait for it')

    folder = image_folder.scan(directory, test_fraction)
    if len(folder.classes) > tfrecord.MAX_CLASSES:
        raise UserError(f'{printable(directory)} has {len(folder.classes)} class folders; the '
                        f'maximum is {tfrecord.MAX_CLASSES}')
    _check_output(directory, output)
    try:
        os.makedirs(os.path.join(output, NOTES), exist_ok=True)
        with files.locked(os.path.join(output, NOTES, 'lock'), fail_if_locked):
            notes = _write_shards(directory, output, folder, image_size, threads)
            bad = {printable(path): reason for path, reason in folder.bad.items()}
            manifest = _write_manifest(output, folder.classes, image_size, notes, bad)
    except OSError as error:
        raise UserError(f'{error.filename or output}: {error.strerror}; fix that and run this '
                        'again: it continues where it stopped') from error
    except SystemExit:
        _log('stopped; run this again to continue')
        raise
    _report(output, manifest, folder.ignored)
    return 1 if manifest['bad'] else 0


def write(output: str, classes: Sequence[str],
          splits: Dict[str, Tuple[np.ndarray, np.ndarray]]) -> None:
    """Write arrays, {split: (images uint8 [N, size, size, 3], labels)}, as a dataset."""
    os.makedirs(os.path.join(output, NOTES), exist_ok=True)
    notes = []
    for split, (images, labels) in splits.items():
        names = _shard_names(split, len(images), images.shape[1], len(classes))
        for name, rows in zip(names, np.array_split(np.arange(len(images)), len(names))):
            notes.append(_write_shard(output, name, images[rows], labels[rows], len(classes)))
    _write_manifest(output, list(classes), images.shape[1], notes, {})


def _check_output(directory: str, output: str) -> None:
    """Raise UserError if `output` lies in `directory` or holds files that are not ours."""
    if os.path.realpath(output).startswith(os.path.realpath(directory) + os.sep):
        raise UserError(f'{printable(output)} is in {printable(directory)}: choose an output '
                        'directory elsewhere')
    if os.path.lexists(output) and not os.path.isdir(output):
        raise UserError(f'{printable(output)}: not a directory; choose another output')
    is_packed = os.path.isdir(os.path.join(output, NOTES))
    for name in sorted(os.listdir(output)) if os.path.isdir(output) else ():
        is_ours = is_packed and (name == registry.MANIFEST or SHARD_NAME.match(name))
        if not name.startswith('.') and not is_ours:
            raise UserError(f'{printable(output)} holds other files, such as {printable(name)}: '
                            'choose an empty or a new directory')


def _write_shards(directory: str, output: str, folder: ImageFolder, image_size: int,
                  threads: int) -> List[Note]:
    """Write the shards that are missing or out of date; return the notes of all, in order."""
    shards = _assign_to_shards(folder, image_size)
    fingerprints = {name: _fingerprint(directory, items, len(folder.classes), image_size)
                    for name, items in shards.items()}
    notes = {name: _read_note(output, name, fingerprints[name]) for name in shards}
    missing = [name for name in shards if notes[name] is None]
    todo = sum(len(shards[name]) for name in missing)
    done = sum(map(len, shards.values())) - todo
    if done:
        _log(f'{done} images are packed already')
    if missing:  # there is no dataset until all shards are complete again
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(output, registry.MANIFEST))
    decode = functools.partial(_decode, image_size=image_size)
    # Threads are enough: Pillow releases the interpreter's lock while it decodes and resizes.
    with files.Progress('packing', todo, _log, 'images') as progress, \
            concurrent.futures.ThreadPoolExecutor(threads) as executor:
        for name in missing:
            images, labels, bad, is_final = [], [], {}, True
            paths = [os.path.join(directory, item.path) for item in shards[name]]
            decoded: Any = executor.map(decode, paths)  # a generator, typed as an iterator
            with contextlib.closing(decoded) as results:
                for item, result in zip(shards[name], results):
                    if isinstance(result, image_files.BadImage):
                        bad[printable(item.path)] = printable(str(result))
                        is_final = is_final and not result.transient
                    else:
                        images.append(result)
                        labels.append(item.label)
                    progress.add(1)
            pixels = np.array(images, np.uint8).reshape(-1, image_size, image_size, 3)
            notes[name] = dict(_write_shard(output, name, pixels, np.array(labels, int),
                                            len(folder.classes)), bad=bad)
            if is_final:  # else the next run tries the bad files again
                files.write_json(_note_path(output, name),
                                 dict(notes[name], fingerprint=fingerprints[name]))
    return [notes[name] for name in shards]


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
    for path, label, _ in items:
        try:
            status = os.stat(os.path.join(directory, path))
            state = status.st_size, status.st_mtime_ns
        except OSError as error:
            state = error.errno, 0
        digest.update(repr((os.fsencode(path), label, state)).encode())
    return digest.hexdigest()


def _note_path(output: str, name: str) -> str:
    return os.path.join(output, NOTES, name + '.json')


def _read_note(output: str, name: str, fingerprint: str) -> Optional[Note]:
    """Return the note of a shard if the shard is complete and up to date, else None."""
    note = files.read_json(_note_path(output, name), {})
    path = os.path.join(output, name)
    if note.get('fingerprint') == fingerprint and os.path.exists(path):
        with open(path, 'rb') as stream:
            if hashlib.sha256(stream.read()).hexdigest() == note['checksum']:
                return note
    return None


def _decode(path: str, image_size: int) -> Union[np.ndarray, image_files.BadImage]:
    try:
        return image_files.read(path, image_size)
    except image_files.BadImage as error:
        return error


def _write_shard(output: str, name: str, images: np.ndarray, labels: np.ndarray,
                 num_classes: int) -> Note:
    """Write a shard; return the fields of its DataFile and its statistics."""
    content = tfrecord.encode(images, labels, num_classes).tobytes()
    files.write_atomically(os.path.join(output, name), content)
    return {
        'name': name, 'split': name.split('-')[0], 'count': len(images),
        'checksum': hashlib.sha256(content).hexdigest(),
        'per_class': np.bincount(labels, minlength=num_classes).tolist(),
        'sum': images.sum((0, 1, 2), dtype=np.int64).tolist(),
        'sum_of_squares': np.einsum('nhwc,nhwc->c', images, images, dtype=np.int64).tolist(),
        'bad': {}}


def _write_manifest(output: str, classes: List[str], image_size: int, notes: List[Note],
                    bad: Dict[str, str]) -> Dict[str, Any]:
    """Write the manifest and return it; remove the shards and notes of an earlier packing."""
    def total(split: str, field: str) -> np.ndarray:
        return sum((np.array(note[field]) for note in notes if note['split'] == split),
                   np.zeros_like(notes[0][field]))

    bad = dict(bad, **{path: reason for note in notes for path, reason in note['bad'].items()})
    counts = {split: int(total(split, 'count')) for split in SPLITS}
    if not counts['train']:
        reasons = [f'none can be used, such as {path}: {reason}' for path, reason in bad.items()]
        reasons.append('all are held out; lower --test_fraction')
        raise UserError(f'there are no images to train on: {reasons[0]}')
    values = counts['train'] * image_size ** 2 * 255.
    mean = total('train', 'sum') / values
    variance = total('train', 'sum_of_squares') / values / 255 - mean ** 2
    manifest = {
        'format': registry.FORMAT, 'classes': classes, 'image_size': image_size, 'counts': counts,
        'counts_per_class': {split: total(split, 'per_class').tolist() for split in SPLITS},
        'mean': mean.round(6).tolist(), 'std': np.sqrt(variance).round(6).tolist(),
        'mean_and_std_of': 'channels R, G, B of the training images, scaled to 0..1',
        'files': [{field: note[field] for field in registry.DataFile._fields} for note in notes],
        'bad': bad}
    files.write_json(os.path.join(output, registry.MANIFEST), manifest)
    names = {note['name'] for note in notes}
    for folder in (output, os.path.join(output, NOTES)):
        for name in os.listdir(folder):
            match = SHARD_NAME.search(name)
            if match and (name.startswith('.') or match.group() not in names):
                os.unlink(os.path.join(folder, name))
    return manifest


def _report(output: str, manifest: Dict[str, Any], ignored: Dict[str, int]) -> None:
    for path, reason in sorted(manifest['bad'].items()):
        _log(f'bad: {path}: {reason}')
    for kind, count in sorted(ignored.items()):
        print(f'ignored: {count} {kind}')
    counts, size = manifest['counts'], manifest['image_size']
    per_class = manifest['counts_per_class']
    if not counts['test']:
        print('note: no images are held out, but eval and freeze need some: set --test_fraction')
    for name, train, test in zip(manifest['classes'], per_class['train'], per_class['test']):
        if counts['test'] and not (train and test):
            print(f'note: class {name} has {train} training and {test} test images')
    print(f'packed: {sum(counts.values())} images of {len(manifest["classes"])} classes, '
          f'{size}x{size}, {counts["train"]} to train and {counts["test"]} to test, '
          f'in {printable(output)}')
    if manifest['bad']:
        _log(f'{len(manifest["bad"])} files could not be used, see above')


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)

"""A directory of class folders -> a data set: shards of TFRecords and their manifest.json.

    folders.scan -> [images by shard] -> processes decode -> shard and note on it -> manifest

A shard and the note on it (`.packing/<shard>.json`) appear whole. What a later run finds noted,
and made of the same files, it keeps; so an interrupted run goes on, and comes to the same bytes.
"""

import collections
import concurrent.futures
import contextlib
import fcntl
import glob
import hashlib
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
import time

import numpy as np

from permafrost import files
from permafrost.datasets import image_files, image_folder, registry, tfrecord
from permafrost.errors import UserError

NOTES = '.packing'
SHARD_IMAGES, SHARD_BYTES = 1000, 64e6  # about the most of a shard: what an interruption may cost
PIECE = 8  # images that a process decodes at a time
OURS = re.compile(r'(train|test)-[0-9]{5}-of-[0-9]{5}\.tfrecord')
LARGEST = 1024  # pixels: the side of images

Shard = collections.namedtuple('Shard', 'name split items')
Bad = collections.namedtuple('Bad', 'why passing')  # of pictures.BadImage


def pack(directory, output, image_size, test_fraction, processes):
    """What tools/make_tfrecords.py does; returns its exit code: 1 where files could not be used.

    Args:
      directory: see folders.scan.
      output: of the data set; new, empty, or with what an earlier run made there.
      image_size: side of the square images, in pixels.
      test_fraction: of the images that are held out, where `directory` has no folder `test`.
      processes: that decode images at a time.
    Raises UserError for what is wrong with either directory, or with the disk.
    """
    listing = image_folder.scan(directory, test_fraction)
    if len(listing.classes) > tfrecord.MAX_CLASSES:
        raise UserError('%s has %d class folders; %d can be told apart' % (
            image_folder.printable(directory), len(listing.classes), tfrecord.MAX_CLASSES))
    _check_output(directory, output)
    with _alone(output):
        try:
            notes = _pack(directory, output, listing, image_size, processes)
            manifest = _manifest(listing, notes, image_size)
            _finish(output, manifest)
        except OSError as error:
            raise UserError('%s: %s; mend that and run this again, it goes on from there' % (
                error.filename or output, error.strerror)) from error
        except SystemExit:
            _say('stopped: run this again to go on')
            raise
    return _report(output, manifest, listing)


def write(output, classes, splits):
    """Writes arrays as such a data set: {split: (uint8 [N, side, side, 3], labels)}."""
    os.makedirs(output, exist_ok=True)
    notes = []
    for split, (images, labels) in splits.items():
        count = -(-len(images) // _shard_images(images.shape[1], len(classes)))
        for i, rows in enumerate(np.array_split(np.arange(len(images)), count)):
            name = _name(split, i, count)
            notes.append(_write_shard(output, name, split, images[rows], labels[rows], classes))
    listing = image_folder.Listing(list(classes), {}, {}, {})
    _finish(output, _manifest(listing, notes, images.shape[1]))


def _check_output(directory, output):
    inside = os.path.realpath(output) + os.sep
    if inside.startswith(os.path.realpath(directory) + os.sep):
        raise UserError('%s is in %s: name an output elsewhere' % tuple(
            map(image_folder.printable, (output, directory))))
    if not os.path.isdir(output):
        if os.path.lexists(output):
            raise UserError('%s: not a directory; name another output' % image_folder.printable(output))
        return
    names = sorted(os.listdir(output))
    foreign = [name for name in names if not name.startswith('.') and not (
        NOTES in names and (name == registry.MANIFEST or OURS.match(name)))]
    if foreign:
        raise UserError('%s holds other files, such as %s: name an empty or a new directory' % (
            image_folder.printable(output), image_folder.printable(foreign[0])))


@contextlib.contextmanager
def _alone(output):
    try:
        os.makedirs(os.path.join(output, NOTES), exist_ok=True)
        lock = open(os.path.join(output, NOTES, 'lock'), 'w')
    except OSError as error:
        raise UserError('cannot write to %s (%s): name another output' % (
            image_folder.printable(output), error.strerror))
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError('another process is packing into %s: wait for it' %
                            image_folder.printable(output))
        yield


def _pack(directory, output, listing, image_size, processes):
    """Makes the shards that are not there yet; the notes on all of them, in order."""
    shards = _shards(listing, image_size)
    wanted = {shard.name: _fingerprint(directory, shard, listing.classes, image_size)
              for shard in shards}
    notes = {shard.name: _noted(output, shard, wanted[shard.name]) for shard in shards}
    missing = [shard for shard in shards if notes[shard.name] is None]
    for left in glob.glob(os.path.join(glob.escape(output), '.*.tfrecord*')):
        os.unlink(left)  # of a run that was killed
    if missing:  # until all is whole again there is no data set
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(output, registry.MANIFEST))
    todo = sum(len(shard.items) for shard in missing)
    done = sum(len(shard.items) for shard in shards) - todo
    if done:
        _say('%d images are packed already' % done)
    paths = [os.path.join(directory, item.path) for shard in missing for item in shard.items]
    with files.Progress('packing', todo, _say, 'images') as bar, \
            contextlib.closing(_read_all(paths, image_size, processes)) as found:
        for shard in missing:
            images, labels, bad, again = [], [], {}, False
            for item in shard.items:
                image = next(found)
                if isinstance(image, Bad):
                    bad[image_folder.printable(item.path)] = image.why
                    again |= image.passing
                else:
                    images.append(image)
                    labels.append(item.label)
                bar.add(1)
            images = np.array(images, np.uint8).reshape(len(images), image_size, image_size, 3)
            note = _write_shard(output, shard.name, shard.split, images, np.array(labels, int),
                                listing.classes)
            notes[shard.name] = dict(note, bad=bad, again=again, made_of=wanted[shard.name])
            files.write_json(_note_path(output, shard.name), notes[shard.name])
    return [notes[shard.name] for shard in shards]


def _shard_images(image_size, classes):
    size = tfrecord.format_of(image_size, classes).size
    return max(1, min(SHARD_IMAGES, int(SHARD_BYTES / size)))


def _name(split, number, count):
    return '%s-%05d-of-%05d.tfrecord' % (split, number, count)


def _shards(listing, image_size):
    """Those of all splits. Which one an image is in follows from its key and their number."""
    most = _shard_images(image_size, len(listing.classes))
    shards = []
    for split, items in listing.items.items():
        count = -(-len(items) // most)
        of_shard = [[] for _ in range(count)]
        for item in items:
            of_shard[item.key * count >> 64].append(item)
        shards += [Shard(_name(split, i, count), split, some) for i, some in enumerate(of_shard)]
    return shards


def _fingerprint(directory, shard, classes, image_size):
    """Changes with anything that the shard is made of."""
    parts = [registry.FORMAT, image_size, len(classes)]
    for item in shard.items:
        try:
            status = os.stat(os.path.join(directory, item.path))
            state = status.st_size, status.st_mtime_ns
        except OSError as error:
            state = error.errno
        parts.append((os.fsencode(item.path).hex(), item.label, state))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _note_path(output, name):
    return os.path.join(output, NOTES, name + '.json')


def _noted(output, shard, made_of):
    """The note on a shard that is there, whole, and made of the same files; else None.

    One is made again where the disk, not what was on it, kept a file from being read.
    """
    try:
        with open(_note_path(output, shard.name)) as stream:
            note = json.load(stream)
        if note['made_of'] == made_of and not note['again']:
            with open(os.path.join(output, shard.name), 'rb') as stream:
                if hashlib.sha256(stream.read()).hexdigest() == note['checksum']:
                    return note
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _read_all(paths, side, processes):
    """Yields, in order, the pixels of each file, or a Bad."""
    if processes == 1 or not paths:
        yield from (_read(path, side) for path in paths)
        return
    # Not forked: the caller may have threads, and TensorFlow's do not outlive that.
    executor = concurrent.futures.ProcessPoolExecutor(
        processes, multiprocessing.get_context('spawn'), _watch, [os.getpid()])
    waiting = collections.deque()
    try:
        with _interrupts_blocked():  # in the processes for good: they end when this one does
            for _ in range(processes):
                executor.submit(int)
        for first in range(0, len(paths), PIECE):
            waiting.append(executor.submit(_read_some, paths[first:first + PIECE], side))
            if len(waiting) > 3 * processes:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError('a process that decoded images died (for want of memory?): run this '
                        'again, with fewer --processes') from error
    finally:
        for future in waiting:
            future.cancel()
        executor.shutdown()


def _watch(parent):
    """Ends this process soon after its parent, which when killed cannot see to that."""
    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _interrupts_blocked():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _read_some(paths, side):
    return [_read(path, side) for path in paths]


def _read(path, side):
    try:
        return image_files.read(path, side)
    except image_files.BadImage as error:
        return Bad(image_folder.printable(str(error)), error.passing)


def _write_shard(output, name, split, images, labels, classes):
    """Writes a shard; the note on it, a value for json."""
    content = tfrecord.encode(images, labels, len(classes)).tobytes()
    files.write_atomically(os.path.join(output, name), content)
    # Each value's number of pixels: sums of the pixels themselves would take 16 times their bytes.
    pixels = np.array([np.bincount(images[..., i].ravel(), minlength=256) for i in range(3)])
    return {
        'name': name, 'split': split, 'count': len(images),
        'checksum': hashlib.sha256(content).hexdigest(),
        'per_class': np.bincount(labels, minlength=len(classes)).tolist(),
        'sum': pixels.dot(np.arange(256)).tolist(),
        'sum_of_squares': pixels.dot(np.arange(256) ** 2).tolist(), 'bad': {}}


def _manifest(listing, notes, image_size):
    """The value of manifest.json. It says nothing of where and when it was made."""
    splits = {split: [note for note in notes if note['split'] == split]
              for split in image_folder.SPLITS}
    counts = {split: sum(note['count'] for note in some) for split, some in splits.items()}
    if not counts['train']:
        raise UserError('no image to train on is left: %s' % (_first_bad(notes) or (
            'all are held out; lower --test_fraction')))
    values = counts['train'] * image_size ** 2 * 255.
    mean = np.sum([note['sum'] for note in splits['train']], 0) / values
    squares = np.sum([note['sum_of_squares'] for note in splits['train']], 0) / values / 255
    bad = dict({image_folder.printable(path): why for path, why in listing.bad.items()},
               **{path: why for note in notes for path, why in note['bad'].items()})
    return {
        'format': registry.FORMAT, 'classes': listing.classes, 'image_size': image_size,
        'counts': counts, 'counts_per_class': {
            split: np.sum([note['per_class'] for note in some], 0).tolist() if some else
            [0] * len(listing.classes) for split, some in splits.items()},
        'mean': mean.round(6).tolist(), 'std': np.sqrt(squares - mean ** 2).round(6).tolist(),
        'mean_and_std_of': 'the channels R, G, B of the training images, 255 as 1',
        'files': [{field: note[field] for field in registry.DataFile._fields} for note in notes],
        'bad': bad}


def _first_bad(notes):
    for note in notes:
        for path, why in note['bad'].items():
            return 'none could be used, such as %s: %s' % (path, why)


def _finish(output, manifest):
    """Writes the manifest, and removes shards and notes of an earlier packing."""
    files.write_json(os.path.join(output, registry.MANIFEST), manifest)
    kept = {file['name'] for file in manifest['files']}
    for folder in (output, os.path.join(output, NOTES)):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            ours = OURS.match(name)
            if ours and ours.group() not in kept:
                os.unlink(os.path.join(folder, name))


def _report(output, manifest, listing):
    for path, why in sorted(manifest['bad'].items()):
        print('bad: %s: %s' % (path, why), file=sys.stderr)
    for what, count in sorted(listing.ignored.items()):
        print('ignored: %d %s' % (count, what))
    counts, per_class = manifest['counts'], manifest['counts_per_class']
    if not counts['test']:
        print('note: no image is held out: eval and freeze need some (--test_fraction)')
    for name, *numbers in zip(manifest['classes'], *(per_class[s] for s in image_folder.SPLITS)):
        if counts['test'] and not all(numbers):
            print('note: class %s has %d images to train on and %d to test' % (name, *numbers))
    print('packed: %d images of %d classes, %dx%d, %d to train and %d to test, in %s' % (
        sum(counts.values()), len(manifest['classes']), manifest['image_size'],
        manifest['image_size'], counts['train'], counts['test'], image_folder.printable(output)))
    if manifest['bad']:
        print('%d files could not be used, see above' % len(manifest['bad']), file=sys.stderr)
    return 1 if manifest['bad'] else 0


def _say(message):
    print(message, file=sys.stderr, flush=True)

"""What a directory of class folders holds: classes, images by split, and what cannot be used."""

import collections
import hashlib
import os

from permafrost.datasets import image_files
from permafrost.errors import UserError

SPLITS = ('train', 'test')
LIKE_SPLITS = SPLITS + ('training', 'testing', 'val', 'valid', 'validation')

# An image file. `path` is relative to the directory, `label` the index of its class; `key` is a
# number below 2 ** 64 that follows from the path alone and orders the images by chance.
Item = collections.namedtuple('Item', 'path label key')

# classes: names by label; items: {split: [Item], by key}; bad: {path: what is wrong with it};
# ignored: {what: number of files}, of what is not meant to be an image.
Listing = collections.namedtuple('Listing', 'classes items bad ignored')


def scan(directory, test_fraction):
    """The Listing of `directory`.

    Where there are folders `train` and `test`, the classes are the folders in them. Otherwise
    they are the folders of `directory`, and an image belongs to the test split where a hash of
    its relative path is below `test_fraction`: so it stays where it is when others are added.

    Raises UserError where there is nothing to make a data set of.
    """
    if not os.path.isdir(directory):
        raise UserError('%s: %s; name a directory of class folders' % (
            printable(directory), 'not a directory' if os.path.exists(directory)
            else 'no such directory'))
    bad, ignored = {}, collections.Counter()
    roots = {split: os.path.join(directory, split) for split in SPLITS}
    parted = all(map(os.path.isdir, roots.values()))
    others = sorted(set(os.listdir(directory)) - set(SPLITS)) if parted else []
    if others:
        ignored['beside train and test, such as %s' % printable(others[0])] = len(others)
    found = {}  # (split or None, class) -> paths
    for split, root in roots.items() if parted else [(None, directory)]:
        for name in sorted(os.listdir(root)):
            path = os.path.join(root, name)
            if os.path.isdir(path) and not name.startswith('.'):
                files = _images(path, directory, bad, ignored)
                if files:
                    found[split, name] = files
                else:
                    ignored['folders without an image'] += 1
            else:
                ignored['hidden' if name.startswith('.') else 'outside of class folders'] += 1
    classes = sorted({name for _, name in found})
    _check(directory, classes, found, parted)
    items = {split: [] for split in SPLITS}
    for (split, name), paths in found.items():
        for path in paths:
            place, key = _hashes(path)
            split_of = split or ('test' if place < test_fraction * 2 ** 64 else 'train')
            items[split_of].append(Item(path, classes.index(name), key))
    for some in items.values():
        some.sort(key=lambda item: (item.key, item.path))
    return Listing([printable(name) for name in classes], items, bad, dict(ignored))


def _check(directory, classes, found, parted):
    where = printable(directory)
    if not classes:
        raise UserError('%s has no class folders with PNG, JPEG or BMP images: it should hold a '
                        'folder for each class, with its images (or train and test, with those)'
                        % where)
    splits = [name for name in classes if name.lower() in LIKE_SPLITS]
    if not parted and splits == classes:
        raise UserError('%s has the folders %s, which look like splits: call them train and test, '
                        'and move or remove the others' % (where, ', '.join(map(printable, splits))))
    if len(classes) == 1:
        raise UserError('%s has one class, %s: a classifier needs two or more folders of images'
                        % (where, printable(classes[0])))
    missing = [name for name in classes if parted and ('train', name) not in found]
    if missing:
        raise UserError('%s has images of class %s in test and none in train: add some, or '
                        'remove that folder' % (where, printable(missing[0])))


def _images(folder, directory, bad, ignored):
    """Paths, relative to `directory`, of the images in `folder` and the folders in it."""
    found, waiting = [], [(folder, [_identity(folder)])]
    while waiting:
        here, above = waiting.pop()
        try:
            names = sorted(os.listdir(here))
        except OSError as error:
            bad[os.path.relpath(here, directory)] = error.strerror
            continue
        for name in names:
            path = os.path.join(here, name)
            relative, ending = os.path.relpath(path, directory), os.path.splitext(name)[1].lower()
            if name.startswith('.'):
                ignored['hidden'] += 1
            elif os.path.isdir(path):
                identity = _identity(path)
                if identity in above:
                    bad[relative] = 'a symbolic link to a folder that it is in'
                else:
                    waiting.append((path, above + [identity]))
            elif ending in image_files.EXTENSIONS:
                found.append(relative)
            elif ending in image_files.OTHER_EXTENSIONS:
                bad[relative] = 'a %s image: save it as PNG, JPEG or BMP' % ending[1:]
            else:
                ignored['no image by their names'] += 1
    return found


def _identity(folder):
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _hashes(path):
    """Two numbers below 2 ** 64 that follow from the path alone."""
    digest = hashlib.sha256(os.fsencode(path)).digest()
    return int.from_bytes(digest[:8], 'big'), int.from_bytes(digest[8:16], 'big')


def printable(path):
    """The path as one line that can be printed anywhere."""
    text = os.fsencode(path).decode('utf-8', 'backslashreplace')
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)

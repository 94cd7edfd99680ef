"""Scan a directory of class folders: its classes, its images by split, and its bad files."""

import collections
import hashlib
import os
from typing import Counter, Dict, List, NamedTuple, Optional, Tuple

from permafrost.datasets import image_files
from permafrost.errors import UserError

SPLITS = ('train', 'test')
LIKE_SPLITS = SPLITS + ('training', 'testing', 'val', 'valid', 'validation')


class Item(NamedTuple):
    """An image file."""
    path: str  # relative to the directory
    label: int  # index of the class
    key: int  # a hash of the path, below 2 ** 64: it puts the images in random order


class ImageFolder(NamedTuple):
    """The contents of a directory of class folders."""
    classes: List[str]  # by label
    items: Dict[str, List[Item]]  # 'train' and 'test' -> images, by key
    bad: Dict[str, str]  # path -> why the file cannot be used
    ignored: Dict[str, int]  # kind of file that is not meant to be an image -> number of files


def scan(directory: str, test_fraction: float) -> ImageFolder:
    """Return the contents of `directory`.

    If it has folders `train` and `test`, those are the splits and the classes are the folders in
    them. Otherwise the classes are the folders of `directory`, and an image is a test image if a
    hash of its relative path is below `test_fraction`: adding images does not move others.

    Raises UserError if no dataset can be made from it.
    """
    if not os.path.isdir(directory):
        problem = 'not a directory' if os.path.exists(directory) else 'no such directory'
        raise UserError(f'{printable(directory)}: {problem}; give a directory of class folders')
    bad: Dict[str, str] = {}
    ignored: Counter[str] = collections.Counter()
    roots: Dict[Optional[str], str] = {split: os.path.join(directory, split) for split in SPLITS}
    has_splits = all(map(os.path.isdir, roots.values()))
    if not has_splits:
        roots = {None: directory}
    others = sorted(set(os.listdir(directory)) - set(SPLITS)) if has_splits else []
    if others:
        ignored[f'next to train and test, such as {printable(others[0])}'] = len(others)
    images = {split: _find_images(root, directory, bad, ignored) for split, root in roots.items()}
    classes = sorted(set().union(*images.values()))
    missing = [name for name in classes if has_splits and name not in images['train']]
    _check_classes(printable(directory), classes, missing, has_splits)
    items: Dict[str, List[Item]] = {split: [] for split in SPLITS}
    for split, paths_of in images.items():
        for name, paths in paths_of.items():
            for path in paths:
                position, key = _hashes(path)
                by_hash = 'test' if position < test_fraction * 2 ** 64 else 'train'
                items[split or by_hash].append(Item(path, classes.index(name), key))
    for split_items in items.values():
        split_items.sort(key=lambda item: (item.key, item.path))
    return ImageFolder([printable(name) for name in classes], items, bad, dict(+ignored))


def _check_classes(directory: str, classes: List[str], missing: List[str],
                   has_splits: bool) -> None:
    """Raise UserError if no classifier can be trained. `missing` classes have no train images."""
    if not classes:
        raise UserError(f'{directory} has no class folders with PNG, JPEG or BMP images: it needs '
                        'a folder of images for each class, or folders train and test with those')
    if not has_splits and all(name.lower() in LIKE_SPLITS for name in classes):
        names = ', '.join(map(printable, classes))
        raise UserError(f'{directory} has the folders {names}, which look like splits: rename them '
                        'to train and test, and move or remove the others')
    if len(classes) == 1:
        raise UserError(f'{directory} has only one class, {printable(classes[0])}: a classifier '
                        'needs at least two folders of images')
    if missing:
        raise UserError(f'{directory} has images of class {printable(missing[0])} in test but none '
                        'in train: add some, or remove that folder')


def _find_images(root: str, directory: str, bad: Dict[str, str],
                 ignored: Counter[str]) -> Dict[str, List[str]]:
    """Return {class: paths, relative to `directory`} of the images in the class folders of `root`.

    Other files are added to `bad` or counted in `ignored`.
    """
    def add_error(error: OSError) -> None:
        bad[os.path.relpath(error.filename, directory)] = error.strerror

    images: Dict[str, List[str]] = {}
    for parent, folders, names in os.walk(root, onerror=add_error, followlinks=True):
        for name in folders + names:
            path = os.path.join(parent, name)
            relative = os.path.relpath(path, directory)
            extension = os.path.splitext(name)[1].lower()
            if name.startswith('.'):
                ignored['hidden'] += 1
            elif name in folders:
                if os.path.islink(path) and _is_own_ancestor(path, root):
                    bad[relative] = 'a symbolic link to a folder that contains it'
                elif parent == root:
                    images[name] = []
            elif parent == root:
                ignored['outside of class folders'] += 1
            elif extension in image_files.EXTENSIONS:
                images[os.path.relpath(path, root).split(os.sep)[0]].append(relative)
            elif extension in image_files.OTHER_EXTENSIONS:
                bad[relative] = f'a {extension[1:]} image: save it as PNG, JPEG or BMP'
            else:
                ignored['not images by name'] += 1
        folders[:] = [name for name in folders if not name.startswith('.') and
                      os.path.relpath(os.path.join(parent, name), directory) not in bad]
    ignored['folders without images'] += sum(not paths for paths in images.values())
    return {name: paths for name, paths in images.items() if paths}


def _is_own_ancestor(link: str, root: str) -> bool:
    """Return whether a link leads to a folder on its own path below `root`, or to `root`."""
    parent = os.path.dirname(link)
    while len(parent) >= len(root):
        if os.path.samefile(parent, link):
            return True
        parent = os.path.dirname(parent)
    return False


def _hashes(path: str) -> Tuple[int, int]:
    """Return two hashes of a path, each below 2 ** 64."""
    digest = hashlib.sha256(os.fsencode(path)).digest()
    return int.from_bytes(digest[:8], 'big'), int.from_bytes(digest[8:16], 'big')


def printable(path: str) -> str:
    """Return a path as one line that can be printed anywhere."""
    text = os.fsencode(path).decode('utf-8', 'backslashreplace')
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)

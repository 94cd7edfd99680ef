"""Scan a directory of class folders: its classes, its images by split, and its bad files."""

import collections
import contextlib
import hashlib
import os
import pathlib
from typing import Counter, Dict, Iterable, List, NamedTuple, Optional, Tuple

from permafrost.datasets.images import image
from permafrost.errors import UserError, printable

SPLITS = ('train', 'test')
# Folders and files that systems put next to images: thumbnails of Synology, archives of macOS ...
SYSTEM_NAMES = ('@eadir', '#recycle', '$recycle.bin', '__macosx', 'lost+found', 'thumbs.db',
                'desktop.ini')
LINKED_TWICE = ('a symbolic link to another folder of the dataset, whose images would be packed '
                'twice')
LIKE_SPLITS = SPLITS + ('training', 'testing', 'val', 'valid', 'validation')


class Item(NamedTuple):
    """An image: a file, or a record of a TFRecord file."""
    file: str  # relative to the directory
    label: int  # index of the class
    key: int  # a hash of the path, below 2 ** 64: it puts the images in random order
    record: int = 0  # its number in the file
    offset: int = 0  # of the record's content, in bytes; 0: the whole file is the image
    length: int = 0  # of the record's content, in bytes

    @property
    def path(self) -> str:
        """The name of the image in messages, and what decides its place."""
        return f'{self.file}:{self.record}' if self.offset else self.file


class ImageFolder(NamedTuple):
    """The images in a directory of class folders, or of TFRecord files."""
    classes: List[str]  # by label
    items: Dict[str, List[Item]]  # 'train' and 'test' -> images, by key
    bad: Dict[str, str]  # path -> why the file cannot be used
    ignored: Dict[str, int]  # kind of file that is not meant to be an image -> number of files
    split_by: str = 'hash'  # what decides the split of an image: this, or a thing with a name


def scan(directory: str, test_fraction: float) -> ImageFolder:
    """Return the contents of `directory`.

    If it has folders `train` and `test`, those are the splits and the classes are the folders in
    them. Otherwise the classes are the folders of `directory`, and an image is a test image if a
    hash of its relative path is below `test_fraction`: adding images does not move others.

    Raises UserError if no dataset can be made from it.
    """
    if not os.path.isdir(directory):
        raise UserError(f'{printable(directory)}: no such directory; give one of class folders')
    bad: Dict[str, str] = {}
    ignored: Counter[str] = collections.Counter()
    roots: Dict[Optional[str], str] = {split: os.path.join(directory, split) for split in SPLITS}
    is_split = all(map(os.path.isdir, roots.values()))
    if not is_split:
        roots = {None: directory}
    folders = _real_folders(printable(directory), list(roots.values()))
    others = sorted(set(os.listdir(directory)) - set(SPLITS)) if is_split else []
    if others:
        ignored[f'next to train and test, such as {printable(others[0])}'] = len(others)
    images = {split: _find_images(root, directory, folders, bad, ignored)
              for split, root in roots.items()}
    classes = sorted(set().union(*images.values()))
    missing = [name for name in classes if is_split and name not in images['train']]
    _check_classes(printable(directory), classes, missing, is_split, bad)
    label = {name: number for number, name in enumerate(classes)}
    items = [(split, Item(path, label[name], 0)) for split, paths_of in images.items()
             for name, paths in paths_of.items() for path in paths]
    return ImageFolder([printable(name) for name in classes], arrange(items, test_fraction), bad,
                       dict(+ignored), 'the folders train and test' if is_split else 'hash')


def arrange(items: Iterable[Tuple[Optional[str], Item]],
            test_fraction: float) -> Dict[str, List[Item]]:
    """Return {split: images in random order} of (split or None, image); None: a hash decides."""
    splits: Dict[str, List[Item]] = {split: [] for split in SPLITS}
    for split, item in items:
        digest = hashlib.sha256(os.fsencode(item.path)).digest()
        position, key = (int.from_bytes(digest[i:i + 8], 'big') for i in (0, 8))
        by_hash = 'test' if position < test_fraction * 2 ** 64 else 'train'
        splits[split or by_hash].append(item._replace(key=key))
    for split_items in splits.values():
        split_items.sort(key=lambda item: (item.key, item.path))
    return splits


def _check_classes(directory: str, classes: List[str], missing: List[str], is_split: bool,
                   bad: Dict[str, str]) -> None:
    """Raise UserError if no classifier can be trained. `missing` classes have no train images."""
    first = min(bad, default='')
    unusable = bad and (f'. Files that cannot be used: {len(bad)}, such as {printable(first)}: '
                        f'{bad[first]}') or ''
    if not classes:
        raise UserError(f'{directory} has no class folders with PNG, JPEG or BMP images: it needs '
                        'a folder of images for each class, or folders train and test with those'
                        f'{unusable}')
    like_splits = [name for name in classes if name.lower() in LIKE_SPLITS]
    if not is_split and (like_splits == classes or len(like_splits) > 1):
        if len(classes) == 1:
            raise UserError(f'{directory} has only the split {printable(classes[0])}: name that '
                            'folder instead, or add the other split: folders train and test')
        names = ', '.join(map(printable, like_splits))
        raise UserError(f'{directory} has the folders {names}, which look like splits: rename them '
                        'to train and test, and move or remove the others')
    if len(classes) == 1:
        raise UserError(f'{directory} has only one class, {printable(classes[0])}: a classifier '
                        f'needs at least two folders of images{unusable}')
    if missing:
        raise UserError(f'{directory} has images of class {printable(missing[0])} in test but none '
                        'in train: add some, or remove that folder')


def _real_folders(directory: str, roots: List[str]) -> Dict[str, str]:
    """Return {real path: path} of the folders `roots` and of the class folders in them.

    If class folders have one real path, the path is that of the one that is not a link, or else of
    the first. Raises UserError if a root lies in another one.
    """
    real_roots = {os.path.realpath(root): root for root in roots}
    if len(real_roots) < len(roots) or any(
            _is_in(one, other) for one in real_roots for other in real_roots if one != other):
        raise UserError(f'{directory}: train and test share images through a symbolic link: keep '
                        'the test images out of train')
    folders = []
    for root in roots:
        with contextlib.suppress(OSError):  # _find_images reports it
            folders += [os.path.join(root, name) for name in sorted(os.listdir(root))
                        if not _is_skipped(name)]
    found: Dict[str, str] = {}
    for folder in sorted(filter(os.path.isdir, folders), key=os.path.islink):
        found.setdefault(os.path.realpath(folder), folder)
    return dict(found, **real_roots)


def _is_skipped(name: str) -> bool:
    return name.startswith('.') or name.lower() in SYSTEM_NAMES


def _is_in(path: str, folder: str) -> bool:
    """Return whether a real path is `folder` or lies in it."""
    return f'{path}{os.sep}'.startswith(folder.rstrip(os.sep) + os.sep)


def _find_images(root: str, directory: str, real_folders: Dict[str, str], bad: Dict[str, str],
                 ignored: Counter[str]) -> Dict[str, List[str]]:
    """Return {class: paths below `directory`} in `root`; add other files to `bad` or `ignored`."""
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
            elif name.lower() in SYSTEM_NAMES:
                ignored[f'named {name}'] += 1
            elif os.path.islink(path) and _leaves_class(path, root, real_folders):
                bad[relative] = _leaves_class(path, root, real_folders)
            elif name in folders:
                if parent == root:
                    images[name] = []
            elif parent == root:
                ignored['outside of class folders'] += 1
            elif extension in image.EXTENSIONS:
                images[os.path.relpath(path, root).split(os.sep)[0]].append(relative)
            elif extension in image.OTHER_EXTENSIONS:
                bad[relative] = f'a {extension[1:]} image: save it as PNG, JPEG or BMP'
            else:
                ignored['not images by name'] += 1
        folders[:] = [name for name in folders if not _is_skipped(name) and
                      os.path.relpath(os.path.join(parent, name), directory) not in bad]
    ignored['folders without images'] += sum(not paths for paths in images.values())
    return {name: paths for name, paths in images.items() if paths}


def _leaves_class(link: str, root: str, real_folders: Dict[str, str]) -> str:
    """Return why a symbolic link cannot be followed; '' if it can.

    It may lead anywhere but to another class or split of the dataset, wherever that is: see
    _real_folders.
    """
    if os.path.isdir(link) and any(os.path.samefile(link, folder)
                                   for folder in pathlib.Path(link).parents):
        return 'a symbolic link to a folder that contains it'
    target = os.path.realpath(link)
    class_folder = os.path.join(root, os.path.relpath(link, root).split(os.sep)[0])
    if class_folder != link:
        if _is_in(target, os.path.realpath(class_folder)):
            return ''
    elif not os.path.isdir(link):
        return ''  # a file outside of class folders
    parents = [target, *map(str, pathlib.Path(target).parents)]
    owners = {real_folders[path] for path in parents if path in real_folders}
    return LINKED_TWICE if owners - {class_folder, root} else ''

"""Scan TFRecord files that other programs wrote: tf.Examples with encoded images and labels.

Features and file names are those of TF-Slim and TensorFlow Datasets:
https://github.com/google-research/tf-slim, https://www.tensorflow.org/datasets
"""

import collections
import glob
import os
import re
from typing import Any, Counter, Dict, Iterator, List, Optional, Tuple

from permafrost import engines, files
from permafrost.cli.commands import next_command
from permafrost.datasets import tfrecord
from permafrost.datasets.image_folder import SYSTEM_NAMES, ImageFolder, Item, arrange
from permafrost.datasets.images import image
from permafrost.errors import UserError, printable

IMAGE, LABEL, TEXT = ('image/encoded', 'image'), ('image/class/label', 'label'), (
    'image/class/text',)
# Compressed files are found so that an error can name them.
FILE_NAME = re.compile(r'(tfrecords?|-[0-9]+-of-[0-9]+)(\.gz)?$', re.IGNORECASE)
SPLIT_NAME = re.compile(r'(?<![a-z])(train|test|val)(?:ing|id|idation)?(?:set|data|val)?(?![a-z])',
                        re.IGNORECASE)
# Files of class names, the best first. TFDS names them after the feature: CIFAR-100 has one of its
# coarse labels too.
LABEL_FILES = ('labels.txt', 'label.labels.txt')
MAX_LABEL_BYTES = 1 << 20  # as in label_image
NEEDED = 'it needs image/encoded (a PNG, JPEG or BMP file) and image/class/label (a number)'


def find(directory: str) -> List[str]:
    """Return the names of the TFRecord files in `directory`; none if it has folders of images.

    Raises UserError if it has TFRecord files and folders without images.
    """
    if not os.path.isdir(directory):
        return []
    entries = [entry for entry in os.scandir(directory) if not entry.name.startswith('.')
               and entry.name.lower() not in SYSTEM_NAMES]
    names = sorted(entry.name for entry in entries if FILE_NAME.search(entry.name)
                   and entry.is_file() and entry.stat().st_size)
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    if not names or any(_has_images(os.path.join(directory, name)) for name in folders):
        return []
    if folders:
        raise UserError(f'{printable(directory)} has TFRecord files, and folders without images, '
                        f'such as {printable(folders[0])}: move the folders elsewhere')
    return names


def _has_images(folder: str) -> bool:
    return any(os.path.splitext(name)[1].lower() in (*image.EXTENSIONS, *image.OTHER_EXTENSIONS)
               for _, _, names in os.walk(folder) for name in names)


def scan(directory: str, names: List[str], test_fraction: float) -> ImageFolder:
    """Return the images of the TFRecord files `names` in `directory`.

    The word train, test or validation in the name of a file is its split (see SPLIT_NAME).
    Validation files are the test images if there are no test files. Without test files, a hash of
    its file's name and its index decides whether an image is a test image, as image_folder.scan
    does. Raises UserError.
    """
    splits, ignored = _splits(directory, names)
    engines.prepare()
    found: List[Tuple[Optional[str], Item]] = []  # the label is that of the file until the end
    texts: Dict[int, str] = {}
    numbers: Dict[str, int] = {}  # of the classes that have only a text
    for name, split in splits.items():
        for index, (offset, content) in enumerate(_records(directory, name)):
            where = f'{printable(name)}: record {index}'
            label, text, _ = _parse(content, where)
            if found and (label is None) != bool(numbers):
                raise UserError(f"{where} has {'no' if label is None else 'a'} image/class/label, "
                                'unlike those before: write all records the same way')
            if label is None:
                label = numbers.setdefault(text, len(numbers))
            texts[label] = texts.get(label) or text
            found.append((split, Item(name, label, 0, index, offset, len(content))))
    labels = sorted(texts, key=lambda label: texts[label] if numbers else label)
    nameless = [label for label in labels if not texts[label]]
    from_file = _read_labels(directory, nameless) if nameless else {}
    classes = [printable(texts[label] or from_file.get(label, str(label))) for label in labels]
    count = collections.Counter(classes)
    classes = [name if count[name] == 1 else f'{name} {label}'
               for name, label in zip(classes, labels)]
    if len(classes) < 2:
        raise UserError(f'{printable(directory)}: its TFRecords have '
                        f"{'only one class' if classes else 'no classes'}: a classifier needs at "
                        'least two')
    rank = {label: i for i, label in enumerate(labels)}
    items = [(split, item._replace(label=rank[item.label])) for split, item in found]
    split_by = 'hash' if None in splits.values() else 'the names of the files'
    return ImageFolder(classes, arrange(items, test_fraction), {}, dict(+ignored), split_by)


def _splits(directory: str, names: List[str]) -> Tuple[Dict[str, Optional[str]], Counter[str]]:
    """Return ({name: split, None where a hash decides}, {kind: number} of files not to read).

    Raises UserError if names may or may not name splits, or if there are no files of train.
    """
    unclear = {word: name for name in names if not SPLIT_NAME.search(name)
               for word in re.findall('train|test', name.lower())}
    if len(unclear) > 1:
        raise UserError(f'{printable(unclear["train"])} and {printable(unclear["test"])} may or '
                        'may not name splits: rename them, so that train and test are separate '
                        'words, as in my-train')
    by_split: Dict[str, List[str]] = collections.defaultdict(list)
    for name in names:
        words = SPLIT_NAME.findall(name)
        by_split[words[-1].lower() if words else ''].append(name)
    if set(by_split) <= {''}:
        return dict.fromkeys(names), collections.Counter()
    if 'train' not in by_split:
        raise UserError(f'{printable(directory)} has TFRecords of '
                        f'{", ".join(filter(None, sorted(by_split)))}, but none of train: put the '
                        'word train into the names of the files to train on')
    test = 'test' if 'test' in by_split else 'val'
    splits: Dict[str, Optional[str]] = dict.fromkeys(
        by_split.pop('train'), 'train' if test in by_split else None)
    splits.update(dict.fromkeys(by_split.pop(test, []), 'test'))
    return splits, collections.Counter({
        'TFRecord files that are neither training nor test data': sum(map(len, by_split.values()))})


def _records(directory: str, name: str) -> Iterator[Tuple[int, bytes]]:
    """Yield (offset, content) of the records of a file, whose checksums TensorFlow verifies."""
    import tensorflow.compat.v1 as tf
    path = os.path.join(directory, name)
    offset = index = 0
    try:
        for content in tf.python_io.tf_record_iterator(path):
            yield offset + tfrecord.HEADER_BYTES, content
            offset += tfrecord.HEADER_BYTES + len(content) + tfrecord.FOOTER_BYTES
            index += 1
        is_damaged = offset != os.path.getsize(path)  # a cut header ends the iteration in silence
    except tf.errors.DataLossError:
        is_damaged = True
    except tf.errors.OpError as error:
        raise UserError(f'{printable(path)}: {printable(error.message)}')
    if is_damaged:
        raise UserError(f'{printable(path)}: record {index} is damaged, or this is not an '
                        'uncompressed TFRecord file: decompress it, or get it again')


def _parse(content: bytes, where: str) -> Tuple[Optional[int], str, bytes]:
    """Return (label or None, text or '', encoded image) of a tf.Example. Raise UserError."""
    import tensorflow.compat.v1 as tf
    try:
        features = tf.train.Example.FromString(content).features.feature
    except Exception:  # protobuf's DecodeError, which is not public
        raise UserError(f'{where} is not a tf.Example: {NEEDED}')

    def only(names: Tuple[str, ...], kind: str) -> Any:
        values = [list(getattr(features[name], kind).value) for name in names if name in features]
        return next((value[0] for value in values if len(value) == 1), None)

    image, label = only(IMAGE, 'bytes_list'), only(LABEL, 'int64_list')
    text = (only(TEXT, 'bytes_list') or b'').decode('utf-8', 'backslashreplace')
    if 'image_raw' in features and image is None:
        command = next_command('tools/make_tfrecords.py')
        raise UserError(f'{where} holds raw pixels, as `{command}` writes them: give its '
                        'directory, with manifest.json, to --dataset')
    if image is None or label is None and not text:
        names = ', '.join(map(printable, sorted(features)[:9])) or 'nothing'
        raise UserError(f'{where} has {names}: {NEEDED}')
    return label, text, image


def _read_labels(directory: str, labels: List[int]) -> Dict[int, str]:
    """Return {label: name} of labels.txt, with lines `number:name` (TF-Slim) or `name` (TFDS).

    Without such a file there are no names. Raises UserError if it has no name for one of `labels`.
    """
    path = _find_labels(directory)
    if path is None:
        return {}
    try:
        with files.open_regular(path) as stream:
            content = stream.read(MAX_LABEL_BYTES + 1)
    except OSError as error:
        raise UserError(f'{printable(path)}: {error.strerror}: it must be a file of class names')
    if len(content) > MAX_LABEL_BYTES:
        raise UserError(f'{printable(path)} is larger than 1 MiB: it must be a file of class names')
    lines = [line.strip() for line in
             re.split('\r\n?|\n', content.decode('utf-8-sig', 'backslashreplace'))]
    pairs = [re.match(r'([0-9]{1,9}):(.*)', line) for line in lines if line]
    names = ({int(pair[1]): pair[2] for pair in pairs if pair} if all(pairs) else
             {number: line for number, line in enumerate(lines) if line})
    missing = [label for label in labels if label not in names]
    if missing:
        raise UserError(f'{printable(path)} has {len(names)} names, and none for label '
                        f'{missing[0]} of the records: add it, or remove the file to use numbers')
    return names


def _find_labels(directory: str) -> Optional[str]:
    """Return the path of the file of class names, None without one. Raise UserError if unclear."""
    found = sorted(os.path.basename(path) for path in
                   glob.glob(os.path.join(glob.escape(directory), '*labels.txt')))
    found = [name for name in LABEL_FILES if name in found][:1] or found
    if len(found) > 1:
        raise UserError(f'{printable(directory)} has several files of class names, '
                        f'{", ".join(map(printable, found[:3]))}: name the right one labels.txt')
    return os.path.join(directory, found[0]) if found else None


def read(directory: str, item: Item) -> bytes:
    """Return the encoded image of a record that `scan` found."""
    with open(os.path.join(directory, item.file), 'rb') as stream:
        stream.seek(item.offset)
        return _parse(stream.read(item.length), item.path)[2]

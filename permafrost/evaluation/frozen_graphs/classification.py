"""Classification of image files by a graph, printed to the digit as label_image prints it."""

import re
import sys
from typing import Iterator, List, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.datasets.images import image
from permafrost.datasets.images.bad_image import BadImage
from permafrost.errors import UserError, pluralize, printable
from permafrost.evaluation.frozen_graphs.classifier import Classifier
from permafrost.evaluation.frozen_graphs.reading.model_card import ModelCard

BATCH_SIZE = 100  # as label_image's
# `... | eval.py`, `eval.py <(...)`, and the latter in zsh.
SHELL_PIPE = re.compile(r'/dev/stdin|/dev/fd/[0-9]+|/proc/self/fd/[0-9]+')


def classify(session: tf.Session, frozen: Classifier, card: ModelCard, paths: Sequence[str],
             top: int = 3) -> int:
    """Print the `top` classes of each image file; return an exit code.

    An image that cannot be read is reported on stderr, the others are classified, and the code is
    1. Raises UserError if there is not a name for each class.
    """
    failed: List[str] = []
    is_first = True
    for names, rows in _batches(session, frozen, paths, failed):
        classes = names_to_print(frozen, card, rows.shape[1])
        if is_first:
            print('\n'.join([f'graph: {card.title(frozen.path)}', *frozen.describe()]))
            is_first = False
        for path, row in zip(names, rows):
            print(printable(path))
            for index in np.argsort(-row, kind='stable')[:top]:
                value = (f'{row[index]:10.6g}' if frozen.output.kind == 'raw'
                         else f'{100 * row[index].astype(float):6.2f} %')
                print(f'  {value}  {classes[index]}')
    return int(bool(failed))


def names_to_print(frozen: Classifier, card: ModelCard, count: int) -> List[str]:
    """Return the names of `count` classes: stated, in the graph, in its json, or their numbers.

    Raises UserError if there are more or fewer names.
    """
    names = list(frozen.labels or card.classes or map(str, range(count)))
    if len(names) != count:
        raise UserError(f"{frozen.path}: {pluralize(len(names), 'label')} for {count} classes: "
                        'give --labels FILE with a name for each class')
    return [printable(re.sub('[\n\r\t]', ' ', name)) for name in names]


def _batches(session: tf.Session, frozen: Classifier, paths: Sequence[str],
             failed: List[str]) -> Iterator[Tuple[List[str], np.ndarray]]:
    """Yield paths and their probabilities float32 [N, classes]; append bad files to `failed`."""
    size = 1 if frozen.input.takes_any_size else BATCH_SIZE
    names: List[str] = []
    images: List[np.ndarray] = []
    for number, path in enumerate(paths, 1):
        try:
            picture = image.decode(_read(path))
            images.append(image.resize(picture, *(frozen.input.read_size or picture.size[::-1])))
            names.append(path)
        except (BadImage, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            print(f'error: {printable(path)}: {reason}', file=sys.stderr)
            failed.append(path)
        if names and (len(names) == size or number == len(paths)):
            yield names, frozen.probabilities(session, np.stack(images))
            names, images = [], []


def _read(path: str) -> bytes:
    """Return the content of an image file, or of a pipe that the shell has made. Raise BadImage."""
    if not SHELL_PIPE.fullmatch(path):
        return image.read_file(path)
    with open(path, 'rb') as stream:
        content = stream.read(image.MAX_FILE_BYTES + 1)
    if len(content) > image.MAX_FILE_BYTES:
        raise BadImage('the file is larger than 1 GiB')
    return content

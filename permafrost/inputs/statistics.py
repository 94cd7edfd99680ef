"""What standardizations need to know of all training images: computed once, and cached.

They travel in config.json, so that nothing of a run depends on the cache. The costly part of
`yuv_local`, its neighbourhoods, stays in the graph: a frozen graph must take images as decoded.
"""

import hashlib
import json
import os

import numpy as np
import tqdm

from permafrost import files
from permafrost.datasets import record_format

# Of analogue television (BT.601): rows are R, G, B; columns Y, U, V.
YUV = np.array([[0.299, -0.14713, 0.615], [0.587, -0.28886, -0.51499], [0.114, 0.436, -0.10001]])
PIECE = 8e6  # bytes of images at a time: in float64 eight times as many


def _moments(pieces, axes):
    """(means, deviations) over all images and those axes besides."""
    count, total, squares = 0, 0., 0.
    for piece in pieces:
        count += piece.size // np.mean(piece, axes).size
        total = total + piece.sum(axes)
        squares = squares + np.square(piece).sum(axes)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - np.square(mean), 0))


def per_channel(pieces):
    """Three means and three deviations, of values 0 to 255."""
    return np.concatenate(_moments(pieces, (0, 1, 2)))


def per_pixel(pieces):
    """The mean image, flat, then the deviation from it of all values together."""
    mean, deviation = _moments(pieces, 0)
    return np.append(mean.ravel(), np.sqrt(np.mean(np.square(deviation))))


def yuv_local(pieces):
    """Means of U and V, then their deviations."""
    return np.concatenate(_moments((piece.dot(YUV[:, 1:]) for piece in pieces), (0, 1, 2)))


STATISTICS = {function.__name__: function for function in (per_channel, per_pixel, yuv_local)}


def statistics(kind, dataset):
    """Numbers that the standardization `kind` needs of `data_set`, a tuple; () where none."""
    if kind not in STATISTICS:
        return ()
    path = os.path.join(files.cache_dir(), 'statistics', '%s-%s-%s.json' % (
        dataset.name, kind, _key(dataset)))
    try:
        with open(path) as stream:
            return tuple(json.load(stream))
    except (OSError, ValueError):
        pass
    with tqdm.tqdm(total=dataset.counts['train'], desc='statistics of ' + dataset.name,
                   unit='image', leave=False, disable=None) as bar:
        found = STATISTICS[kind](_pieces(dataset, bar))
    found = tuple(round(float(number), 4) for number in found)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        files.write_json(path, found)
    except OSError:
        pass  # a cache that cannot be written costs seconds the next time
    return found


def _pieces(dataset, bar):
    """The training images, float64 [n, H, W, 3], some at a time: they need not fit in memory."""
    for path in filter(os.path.getsize, dataset.splits['train']):  # an empty one is not mapped
        rows = np.memmap(path, np.uint8, 'r').reshape(-1, dataset.layout.size)
        many = max(1, int(PIECE / dataset.layout.image_bytes))
        for first in range(0, len(rows), many):
            images, _ = record_format.decode(rows[first:first + many], dataset.layout)
            yield images.astype(np.float64)
            bar.update(len(images))


def _key(dataset):
    """Changes when a training file does."""
    files = [(path, os.path.getsize(path), os.stat(path).st_mtime_ns)
             for path in dataset.splits['train']]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:16]

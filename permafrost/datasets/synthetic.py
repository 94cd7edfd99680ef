"""Synthetic."""

import hashlib
import os

import numpy as np

from permafrost.datasets import loading, record_format, registry
from permafrost.files import write_json

def make_synthetic(directory, train=640, test=500, files=2, seed=1):
    """Writes a learnable data set for tests and returns it opened.

    A class is a colour and a direction of stripes; where the stripes start, and the noise, are
    random. Classes are equally frequent; `train` images lie in `files` files, `test` in one.
    """
    random = np.random.RandomState(seed)
    rows, columns = np.mgrid[:32, :32]
    angles = np.pi * np.arange(10) / 10
    colours = 128 + 50 * np.cos(2 * np.pi * (np.arange(10)[:, None] / 10 + np.arange(3) / 3))
    parts = [('train_%d.bin' % i, 'train', len(part))
             for i, part in enumerate(np.array_split(np.arange(train), files), 1)]
    manifest = []
    os.makedirs(directory, exist_ok=True)
    for name, split, count in parts + [('test.bin', 'test', test)]:
        labels = random.permutation(np.arange(count) % 10)
        slope = angles[labels][:, None, None]
        phase = random.uniform(0, 2 * np.pi, (count, 1, 1))
        stripes = np.sin((rows * np.sin(slope) + columns * np.cos(slope)) * 0.8 + phase)
        images = (colours[labels][:, None, None] + 40 * stripes[..., None]
                  + random.normal(0, 25, (count,) + registry.IMAGE_SHAPE))
        content = record_format.encode(images.clip(0, 255).astype(np.uint8), labels)
        content.tofile(os.path.join(directory, name))
        manifest.append(registry.DataFile(name, split, count,
                             hashlib.sha256(content.tobytes()).hexdigest())._asdict())
    write_json(os.path.join(directory, registry.MANIFEST), manifest)
    return loading.open_dataset('synthetic', directory)

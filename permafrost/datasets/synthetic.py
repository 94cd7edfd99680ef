"""A synthetic dataset in the format of CIFAR-10, for tests: a model learns it in a few steps."""

import dataclasses
import hashlib
import os

import numpy as np

from permafrost.datasets import loading, record_format, registry
from permafrost.files import write_atomically, write_json


def make_synthetic(directory: str, train: int = 640, test: int = 500) -> loading.Dataset:
    """Write a dataset of `train` training and `test` test images, and open it.

    Each class has a colour and a direction of stripes; the phase of the stripes and the noise are
    random. All classes are equally frequent.
    """
    random = np.random.RandomState(1)
    manifest = []
    os.makedirs(directory, exist_ok=True)
    for name, split, count in (('train_1.bin', 'train', (train + 1) // 2),
                               ('train_2.bin', 'train', train // 2), ('test.bin', 'test', test)):
        labels = random.permutation(np.arange(count) % 10)
        content = record_format.encode(_striped_images(labels, random), labels).tobytes()
        write_atomically(os.path.join(directory, name), content)
        checksum = hashlib.sha256(content).hexdigest()
        file = registry.DataFile(name, split, count, checksum)
        manifest.append(dataclasses.asdict(file))
    write_json(os.path.join(directory, registry.MANIFEST), manifest)
    return loading.open_dataset('synthetic', directory)


def _striped_images(labels: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Return noisy images, uint8 [N, 32, 32, 3], in the colours and stripes of the labels."""
    rows, columns = np.mgrid[:32, :32]
    colours = 128 + 50 * np.cos(2 * np.pi * (np.arange(10)[:, None] / 10 + np.arange(3) / 3))
    angle = (np.pi * labels / 10)[:, None, None]
    phase = random.uniform(0, 2 * np.pi, (len(labels), 1, 1))
    stripes = np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 0.8 + phase)
    noise = random.normal(0, 25, (len(labels),) + registry.IMAGE_SHAPE)
    images = colours[labels][:, None, None] + 40 * stripes[..., None] + noise
    return images.clip(0, 255).astype(np.uint8)

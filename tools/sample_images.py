#!/usr/bin/env python3
"""Write images of the test set as PNG files: bin/permafrost samples --output DIR."""

import io
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags
from PIL import Image

from permafrost import files
from permafrost.datasets import loading
from permafrost.entry_point import run_script
from permafrost.flags import define_data_dir_flag, define_dataset_flag

flags.DEFINE_string('output', 'samples', 'Directory to write to.')
flags.DEFINE_integer('count', 2, 'Number of images to write, from the start of the test set.', 1)
define_dataset_flag()
define_data_dir_flag()
FLAGS = flags.FLAGS


def main():
    dataset = loading.open_dataset(FLAGS.dataset, FLAGS.data_dir)
    images, labels = loading.load_first(dataset, 'test', FLAGS.count)
    os.makedirs(FLAGS.output, exist_ok=True)
    for i, (image, label) in enumerate(zip(images, labels)):
        name = files.safe_name('-'.join([str(i), dataset.classes[label]]))
        path = os.path.join(FLAGS.output, name + '.png')
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, 'png')
        files.write_atomically(path, stream.getvalue())
        print(path)


if __name__ == '__main__':
    run_script(main)

#!/usr/bin/env python3
"""Pack class folders, or TFRecords written by other programs.

bin/permafrost pack DIR OUT
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost import machine
from permafrost.cli.commands import next_command
from permafrost.datasets import packing
from permafrost.entry_point import run_script
from permafrost.errors import UsageError

flags.DEFINE_integer('image_size', 32, 'Side of the packed images in pixels. The central square of '
                     'each image is resized to it.', 1, packing.MAX_IMAGE_SIZE)
flags.DEFINE_float('test_fraction', 0.1, 'Fraction of the images to hold out as test images. '
                   'Ignored if DIR has folders train and test, or TFRecord files of train and of '
                   'test or validation.', 0., 0.9)
flags.DEFINE_integer('threads', None, 'Threads that decode images. Default: one per core.', 1,
                     256)
flags.DEFINE_alias('processes', 'threads')
FLAGS = flags.FLAGS


def main(directory=None, output=None):
    if output is None:
        raise UsageError('give a directory of class folders and an output directory: ' +
                         next_command('tools/make_tfrecords.py') + ' DIR OUT')
    return packing.pack(directory, output, FLAGS.image_size, FLAGS.test_fraction,
                        FLAGS.threads or machine.cores())


if __name__ == '__main__':
    run_script(main, max_arguments=2)

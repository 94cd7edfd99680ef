"""Packs a directory of class folders: python tools/make_tfrecords.py DIR OUT --image_size=32."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from absl import flags

from permafrost import runtime
from permafrost.flags import run_script
from permafrost.datasets import packing
from permafrost.errors import UsageError

SCRIPT = {'module_name': sys.argv[0]}
flags.DEFINE_integer('image_size', 32, 'Side of the images in pixels: the middle square of each '
                     'is resized to it.', 1, packing.LARGEST, **SCRIPT)
flags.DEFINE_float('test_fraction', 0.1, 'Share of the images held out to test, where DIR has no '
                   'folders train and test.', 0., 0.9, **SCRIPT)
flags.DEFINE_integer('processes', None, 'Processes that decode images; default: one a core.', 1,
                     256, **SCRIPT)
FLAGS = flags.FLAGS


def main(directory=None, output=None):
    if output is None:
        raise UsageError('name the directory of class folders and that of the data set: '
                         'python tools/make_tfrecords.py DIR OUT')
    return packing.pack(directory, output, FLAGS.image_size, FLAGS.test_fraction,
                        FLAGS.processes or runtime.cores())


if __name__ == '__main__':
    run_script(main, arguments=2)

#!/usr/bin/env python3
"""Download CIFAR-10 or CIFAR-100: `make data`, or `make data ARGS=--dataset=cifar100`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost.datasets import download
from permafrost.entry_point import run_script

flags.DEFINE_string('dataset', 'cifar10', 'Dataset: cifar10 or cifar100.')
flags.DEFINE_alias('data_set', 'dataset')
flags.DEFINE_string('data_dir', None, 'Directory for the .bin files. Default: $PERMAFROST_DATA/'
                    '<dataset>, or $PERMAFROST_CACHE/data/<dataset>, or '
                    '~/.cache/permafrost/data/<dataset>.')
FLAGS = flags.FLAGS


def main():
    directory = download.prepare(FLAGS.dataset, FLAGS.data_dir)
    print('data:', FLAGS.dataset, 'is complete in', directory)


if __name__ == '__main__':
    run_script(main)

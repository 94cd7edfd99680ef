#!/usr/bin/env python3
"""Freeze a run into one file, and convert that to TFLite, ONNX, ...: see docs/deploy.md.

bin/permafrost freeze --run runs/tuto/1 --formats pb,tflite,onnx --quantize none,int8
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost.entry_point import run_script
from permafrost.experiments.reports import run_report
from permafrost.export import formats
from permafrost.export.conversion import command
from permafrost.flags import define_checkpoint_flags, define_run_dataset_flags

define_checkpoint_flags()
define_run_dataset_flags(' With --graph: cifar10.')
flags.DEFINE_string('output', None, 'File to write, ending in .pb; a json file next to it '
                    'describes it. Default: <run>/<model>.pb; with --graph, next to '
                    'it. Other formats get its name.')
formats.define_flags()
FLAGS = flags.FLAGS


def main():
    run = command.run(FLAGS)
    if run:
        run_report.write(run)


if __name__ == '__main__':
    run_script(main)

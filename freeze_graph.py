#!/usr/bin/env python3
"""Freeze a run into one file: python freeze_graph.py --run runs/tuto/1."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost import interpreter

interpreter.check()

from absl import flags

from permafrost import runs, runtime
from permafrost.experiments.reports import run_report
from permafrost.export import formats
from permafrost.flags import define_checkpoint_flags, define_run_dataset_flags, run_script

define_checkpoint_flags()
define_run_dataset_flags()
flags.DEFINE_string('output', None, 'File to write, ending in .pb; a json file next to it '
                    'describes it. Default: <run>/<model>.pb.')
formats.define_flags()
FLAGS = flags.FLAGS


def main():
    run = FLAGS.run or runs.latest_run(FLAGS.log_dir)
    runs.read_config(run)  # report a wrong directory before the slow import
    session_config = runtime.prepare()
    from permafrost.export import freeze  # imports TensorFlow, after its threads are set
    freeze.freeze(run, session_config, step=FLAGS.step, weights=FLAGS.weights,
                  output=FLAGS.output, dataset=FLAGS.dataset, data_dir=FLAGS.data_dir,
                  formats=formats.chosen(FLAGS))
    run_report.write(run)


if __name__ == '__main__':
    run_script(main)

#!/usr/bin/env python3
"""Evaluate a run: bin/permafrost eval --run runs/tuto/1; or a graph: --graph FILE."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost.entry_point import run_script
from permafrost.errors import printable
from permafrost.evaluation import command
from permafrost.experiments import results
from permafrost.experiments.reports import run_report

command.define_flags()
FLAGS = flags.FLAGS


def main(*images):
    if FLAGS.images or images:
        return command.print_classes(FLAGS, images)
    run, metrics = command.print_metrics(FLAGS)
    if FLAGS.results:
        print('result:', printable(results.record(FLAGS.results, run, metrics)))
    if run:
        run_report.write(run)
    return 0


if __name__ == '__main__':
    run_script(main, max_arguments=1000000, prints_result=True)

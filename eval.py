#!/usr/bin/env python3
"""Evaluate a run, or a frozen graph with --graph FILE.pb: python eval.py --run runs/tuto/1."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost import interpreter

interpreter.check()

from absl import flags

from permafrost.errors import printable
from permafrost.evaluation import command
from permafrost.experiments import results
from permafrost.experiments.reports import run_report
from permafrost.flags import run_script

command.define_flags()
FLAGS = flags.FLAGS


def main():
    run, metrics = command.evaluate(FLAGS)
    if FLAGS.results:
        print('result:', printable(results.record(FLAGS.results, run, metrics)))
    if run:
        run_report.write(run)


if __name__ == '__main__':
    run_script(main, prints_result=True)

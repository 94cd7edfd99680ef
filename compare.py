#!/usr/bin/env python3
"""Compare runs, studies or results: bin/permafrost compare runs/tuto/1 'runs/nin*/*'."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost.entry_point import run_script
from permafrost.experiments.comparison import output

output.define_flags()
FLAGS = flags.FLAGS


def main(*arguments):
    output.show(FLAGS, arguments)


if __name__ == '__main__':
    run_script(main, max_arguments=sys.maxsize, prints_result=True)

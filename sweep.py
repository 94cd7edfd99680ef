#!/usr/bin/env python3
"""Train a study: bin/permafrost sweep STUDY --model tuto --vary learning_rate=0.05,0.2."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost.entry_point import run_script
from permafrost.errors import UsageError
from permafrost.experiments.sweeps import study, sweep
from permafrost.flags import define_train_flags

study.define_flags()
define_train_flags()
FLAGS = flags.FLAGS
for name, reason in study.REFUSED.items():
    FLAGS[name].help = 'Not for a study: {}.'.format(reason)  # old Pythons parse this
FLAGS['validation'].default_as_str = "'{}'".format(study.VALIDATION)  # --help shows it


def main(folder=''):
    if not folder:
        raise UsageError('name the directory of the study: sweep.py STUDY [FLAGS]')
    return sweep.run(FLAGS, folder)


if __name__ == '__main__':
    run_script(main, max_arguments=1)

#!/usr/bin/env python3
"""Train a model: bin/permafrost train --model tuto --recipe tutorial --steps 10000."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost import engines
from permafrost.entry_point import run_script
from permafrost.flags import check_chart_flags, define_chart_flags, define_train_flags
from permafrost.training import setup

define_train_flags()
define_chart_flags()
FLAGS = flags.FLAGS


def main():
    check_chart_flags(FLAGS)
    if FLAGS.plot:
        from permafrost.experiments import schedule_plot
        return schedule_plot.plot(FLAGS)
    train_setup = setup.prepare_training(FLAGS)
    setup.check_sources(train_setup)
    session_config = engines.prepare(train_setup.config)
    from permafrost.experiments import lr_range_test, train_and_evaluate  # import TensorFlow
    if FLAGS.lr_range_test:
        return lr_range_test.run(train_setup, session_config, FLAGS.steps, FLAGS.output)
    return train_and_evaluate.train(train_setup, session_config)


if __name__ == '__main__':
    run_script(main)

#!/usr/bin/env python3
"""Train a model: python train.py --model tuto --recipe tutorial --steps 10000."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost import interpreter

interpreter.check()

from absl import flags

from permafrost import runtime
from permafrost.errors import UsageError
from permafrost.flags import define_train_flags, run_script
from permafrost.training import setup

define_train_flags()
flags.DEFINE_bool('plot', False, 'Plot the learning rate of the recipe to --output and exit, '
                  'without training.')
flags.DEFINE_string('output', None, 'With --plot: file to write. Default: '
                    '<recipe>[-<change>...]-learning-rate.png.')
FLAGS = flags.FLAGS


def main():
    if FLAGS.output and not FLAGS.plot:
        raise UsageError('--output is the file of --plot; --run names the folder of a run')
    if FLAGS.plot:
        from permafrost.recipes import plot  # imports Pillow, which training does not need
        return plot.learning_rate(FLAGS)
    train_setup = setup.prepare_training(FLAGS)
    session_config = runtime.prepare(train_setup.config)
    from permafrost.training import loop  # imports TensorFlow, whose threads are now set
    return loop.train(train_setup, session_config)


if __name__ == '__main__':
    run_script(main)

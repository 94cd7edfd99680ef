"""Trains a model: python train.py --model tuto --recipe tutorial --steps 10000."""

import sys

from absl import flags

from permafrost import runtime
from permafrost.flags import define_resume_flag, define_run_flags, define_train_flags, run_script
from permafrost.training import setup

define_train_flags()
define_run_flags()
define_resume_flag()
flags.DEFINE_bool('plot', False, 'Train nothing: draw the learning rate of the recipe to '
                  '<recipe>-learning-rate.png.', module_name=sys.argv[0])
FLAGS = flags.FLAGS


def main():
    if FLAGS.plot:
        from permafrost.recipes import plot  # imports Pillow, which training does without
        return plot.learning_rate(FLAGS)
    start = setup.prepare(FLAGS)
    session_config = runtime.prepare(start.config.deterministic, start.config.intra_op_threads,
                                    start.config.inter_op_threads)
    from permafrost.training import loop  # imports TensorFlow, whose threads are set by now
    return loop.train(*start, session_config)


if __name__ == '__main__':
    run_script(main)

"""Trains a model: python train.py --model tuto --recipe tutorial --steps 10000."""

import sys

from absl import flags

from permafrost import cli, config, engine, launch

config.define_train_flags()
config.define_run_flags()
config.define_resume()
flags.DEFINE_bool('plot', False, 'Train nothing: draw the learning rate of the recipe to '
                  '<recipe>-learning-rate.png.', module_name=sys.argv[0])
FLAGS = flags.FLAGS


def main():
    if FLAGS.plot:
        from permafrost import plot  # imports Pillow, which training does without
        return plot.learning_rate(FLAGS)
    start = launch.launch(FLAGS)
    session_config = engine.prepare(start.config.deterministic, start.config.intra_op_threads,
                                    start.config.inter_op_threads)
    from permafrost import training  # imports TensorFlow, whose threads are set by now
    return training.train(*start, session_config)


if __name__ == '__main__':
    cli.run(main)

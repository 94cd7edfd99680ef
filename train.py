"""Trains a model: python train.py --model tuto --recipe tutorial --steps 10000."""

from absl import flags

from permafrost import cli, config, engine, launch

config.define_train_flags()
config.define_run_flags()
config.define_resume()
FLAGS = flags.FLAGS


def main():
    start = launch.launch(FLAGS)
    session_config = engine.prepare(start.config.deterministic, start.config.intra_op_threads,
                                    start.config.inter_op_threads)
    from permafrost import training  # imports TensorFlow, whose threads are set by now
    return training.train(*start, session_config)


if __name__ == '__main__':
    cli.run(main)

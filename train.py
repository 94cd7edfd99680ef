"""Trains a model: python train.py --model tuto --recipe tutorial --steps 10000."""

import sys

from absl import flags

from permafrost import cli, config, engine, launch

config.define_train_flags()
config.define_run_flags()
flags.DEFINE_bool('resume', False, "Continue --run, or the model's newest run; where there is "
                  'none, start it.', module_name=sys.argv[0])
FLAGS = flags.FLAGS


def main():
    settings, run = launch.launch(FLAGS)
    session_config = engine.prepare(settings.deterministic, settings.intra_op_threads,
                                    settings.inter_op_threads)
    print('run: %s' % run, flush=True)
    from permafrost import training  # imports TensorFlow, whose threads are set by now
    return training.train(settings, run, session_config)


if __name__ == '__main__':
    cli.run(main)

"""Trains on a cluster on this host: tools/local_cluster.py --ps 1 --workers 2 --model tuto ..."""

import os
import sys

from absl import flags

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from permafrost import cli, config, host

SCRIPT = {'module_name': sys.argv[0]}
flags.DEFINE_integer('ps', 1, 'Parameter servers.', 1, **SCRIPT)
flags.DEFINE_integer('workers', 2, 'Workers; the first is the chief.', 1, **SCRIPT)
flags.DEFINE_bool('evaluator', False, 'Also evaluate every checkpoint; needs --run.', **SCRIPT)
OWN = ('ps', 'workers', 'evaluator')
config.define_train_flags()
config.define_run_flags()
config.define_resume()
config.define_training_cluster_flags()
FLAGS = flags.FLAGS


def main():
    if FLAGS.evaluator and not (FLAGS.run or FLAGS.resume):
        raise config.UsageError('--evaluator needs --run: where the run will be')
    arguments = [argument for name in config.given(FLAGS) if name not in OWN
                 for argument in FLAGS[name].serialize().split('\n')]
    return host.run(FLAGS.ps, FLAGS.workers, FLAGS.evaluator, arguments)


if __name__ == '__main__':
    cli.run(main)

"""Trains on a cluster on this host: tools/local_cluster.py --ps 1 --workers 2 --model tuto ..."""

import os
import sys

from absl import flags

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from permafrost.flags import (
    define_resume_flag,
    define_run_flags,
    define_train_flags,
    define_training_cluster_flags,
    explicitly_set,
    run_script)
from permafrost.cluster import local_cluster
from permafrost.errors import UsageError

SCRIPT = {'module_name': sys.argv[0]}
flags.DEFINE_integer('ps', 1, 'Parameter servers.', 1, **SCRIPT)
flags.DEFINE_integer('workers', 2, 'Workers; the first is the chief.', 1, **SCRIPT)
flags.DEFINE_bool('evaluator', False, 'Also evaluate every checkpoint; needs --run.', **SCRIPT)
OWN = ('ps', 'workers', 'evaluator')
define_train_flags()
define_run_flags()
define_resume_flag()
define_training_cluster_flags()
FLAGS = flags.FLAGS


def main():
    if FLAGS.evaluator and not (FLAGS.run or FLAGS.resume):
        raise UsageError('--evaluator needs --run: where the run will be')
    arguments = [argument for name in explicitly_set(FLAGS) if name not in OWN
                 for argument in FLAGS[name].serialize().split('\n')]
    return local_cluster.run(FLAGS.ps, FLAGS.workers, FLAGS.evaluator, arguments)


if __name__ == '__main__':
    run_script(main)

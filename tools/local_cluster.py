#!/usr/bin/env python3
"""Train on a cluster on this host: tools/local_cluster.py --ps 1 --workers 2 --model tuto ..."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost.cluster import local_cluster
from permafrost.entry_point import run_script
from permafrost.errors import UsageError
from permafrost.flags import define_train_flags, define_training_cluster_flags

flags.DEFINE_integer('ps', 1, 'Number of parameter servers.', 1)
flags.DEFINE_integer('workers', 2, 'Number of workers; the first is the chief.', 1)
flags.DEFINE_bool('evaluator', False, 'Also start an evaluator, which evaluates each new '
                  'checkpoint. Needs --run or --resume.')
define_train_flags()
define_training_cluster_flags()
FLAGS = flags.FLAGS


def main():
    if FLAGS.evaluator and not (FLAGS.run or FLAGS.resume):
        raise UsageError('--evaluator needs --run, the directory of the run, or --resume')
    local_cluster.check(FLAGS)
    arguments = local_cluster.task_arguments(FLAGS, ('ps', 'workers', 'evaluator'))
    return local_cluster.run(FLAGS.ps, FLAGS.workers, FLAGS.evaluator, arguments)


if __name__ == '__main__':
    run_script(main)

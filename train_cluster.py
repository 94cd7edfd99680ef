#!/usr/bin/env python3
"""Run one task of a cluster: python train_cluster.py --job_name=worker --task_index=0 ..."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost import interpreter

interpreter.check()

from absl import flags

from permafrost.cluster import task
from permafrost.flags import define_train_flags, define_training_cluster_flags, run_script

define_train_flags()
define_training_cluster_flags()
flags.DEFINE_list('ps_hosts', [], 'Parameter servers, host:port,... Default: from TF_CONFIG, '
                  "or else from the run's cluster.json.")
flags.DEFINE_list('worker_hosts', [], 'Workers, host:port,...; the first is the chief. '
                  'Default: as for --ps_hosts.')
flags.DEFINE_enum('job_name', None, ['ps', 'worker', 'chief', 'evaluator'],
                  'Job of this task. Default: from TF_CONFIG.')
flags.DEFINE_integer('task_index', None, 'Index of this task within its job, from 0.', 0)
FLAGS = flags.FLAGS


def evaluate(run, session_config, restart_timeout):
    from permafrost.evaluation import evaluate  # imports TensorFlow, whose threads are now set
    evaluate.evaluate_run(run, session_config, continuous=True, restart_timeout=restart_timeout,
                          data_dir=FLAGS.data_dir)


def main():
    return task.run(FLAGS, evaluate)


if __name__ == '__main__':
    run_script(main)

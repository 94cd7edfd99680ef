"""Run one task of a cluster: python train_cluster.py --job_name=worker --task_index=0 ..."""

from absl import flags

from permafrost.cluster import task
from permafrost.flags import (
    define_cluster_flags, define_resume_flag, define_run_flags, define_train_flags, run_script)

define_train_flags()
define_run_flags()
define_resume_flag()
define_cluster_flags()
FLAGS = flags.FLAGS


def evaluate(run, session_config, restart_timeout):
    from permafrost.evaluation import evaluate  # imports TensorFlow, whose threads are now set
    evaluate.evaluate_run(run, session_config, continuous=True, restart_timeout=restart_timeout,
                          data_dir=FLAGS.data_dir)


def main():
    return task.run(FLAGS, evaluate)


if __name__ == '__main__':
    run_script(main)

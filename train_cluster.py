"""One task of a cluster's training: python train_cluster.py --job_name=worker --task_index=0 ..."""

from absl import flags

from permafrost.flags import (
    define_cluster_flags,
    define_resume_flag,
    define_run_flags,
    define_train_flags,
    run_script)
from permafrost.cluster import task

define_train_flags()
define_run_flags()
define_resume_flag()
define_cluster_flags()
FLAGS = flags.FLAGS


def main():
    return task.run(FLAGS)


if __name__ == '__main__':
    run_script(main)

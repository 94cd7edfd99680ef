"""One task of a cluster's training: python train_cluster.py --job_name=worker --task_index=0 ..."""

from absl import flags

from permafrost import cli, config, tasks

config.define_train_flags()
config.define_run_flags()
config.define_resume()
config.define_cluster_flags()
FLAGS = flags.FLAGS


def main():
    return tasks.run(FLAGS)


if __name__ == '__main__':
    cli.run(main)

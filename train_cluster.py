#!/usr/bin/env python3
"""Run one task of a cluster: bin/permafrost cluster --job_name=worker --task_index=0 ..."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost.cluster import task
from permafrost.entry_point import run_script
from permafrost.flags import explicitly_set

task.define_flags()
FLAGS = flags.FLAGS


def evaluate(run, session_config, restart_timeout):
    from permafrost.evaluation import evaluate  # imports TensorFlow, whose threads are now set
    evaluate.evaluate_run(run, session_config, continuous=True, restart_timeout=restart_timeout,
                          **evaluate.images_to_follow(
                              run, explicitly_set(FLAGS).get('dataset'), FLAGS.data_dir))


def train_chief(train_setup, session_config, **options):
    from permafrost.experiments import train_and_evaluate
    return train_and_evaluate.train(train_setup, session_config, **options)


def with_teacher(train_setup, session_config):
    from permafrost.transfer import teachers
    return teachers.with_teacher(train_setup, session_config)


def main():
    return task.run(FLAGS, evaluate, train_chief, with_teacher)


if __name__ == '__main__':
    run_script(main)

"""Times this machine: benchmark.py [pipeline|inference|training|cluster|threads] --models tuto."""

import os
import sys

from absl import flags

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

import benchmarks
from permafrost.flags import define_data_dir_flag, define_dataset_flag, run_script

SCRIPT = {'module_name': sys.argv[0]}
flags.DEFINE_list('models', None, "Models to time, or all; default: the benchmark's own.",
                  **SCRIPT)
flags.DEFINE_integer('rounds', None, 'Times that each thing is timed, in turn; default: 8, of '
                     'threads 3, of training 3 to 8, by model.', 1, **SCRIPT)
flags.DEFINE_float('seconds', None, 'Seconds that each timing takes, or eight of '
                   'inference and training; default: 8.', 0.01, **SCRIPT)
flags.DEFINE_bool('quick', False, 'A try: 2 rounds of 1 second, recorded only where --results '
                  'says so.', **SCRIPT)
flags.DEFINE_string('results', None, 'Folder in which to record the figures; default: results.',
                    **SCRIPT)
define_dataset_flag()
define_data_dir_flag()
FLAGS = flags.FLAGS
NAME = sys.argv.pop(1) if sys.argv[1:] and sys.argv[1][0] != '-' else 'pipeline'


def main():
    return benchmarks.run(NAME, benchmarks.Options(
        models=FLAGS.models, rounds=FLAGS.rounds or (2 if FLAGS.quick else None),
        seconds=FLAGS.seconds or (1. if FLAGS.quick else 8.),
        results=FLAGS.results or (None if FLAGS.quick else 'results'),
        dataset=FLAGS.dataset, data_dir=FLAGS.data_dir))


if __name__ == '__main__':
    run_script(main)

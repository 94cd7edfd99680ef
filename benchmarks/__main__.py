"""Time this machine: python -m benchmarks [NAME] --models tuto.

NAME: pipeline (default), inference, latency, deploy, training, cluster or scaling; see
docs/speed.md, docs/deploy.md and docs/scaling.md.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from benchmarks import runner
from permafrost.entry_point import run_script
from permafrost.flags import define_data_dir_flag, define_dataset_flag

flags.DEFINE_list('models', None, "Models to time, or all. Default: the benchmark's own.")
flags.DEFINE_integer('rounds', 8, 'Number of interleaved measurement rounds.', 1)
flags.DEFINE_float('seconds', 8., 'Seconds per measurement (inference and training: per eight '
                   'measurements).', 0.01)
flags.DEFINE_string('results', 'results', 'Directory for the json file.')
define_dataset_flag()
define_data_dir_flag()
FLAGS = flags.FLAGS


def main(name='pipeline'):
    runner.run(name, runner.Options(FLAGS.models, FLAGS.rounds, FLAGS.seconds, FLAGS.results,
                                    FLAGS.dataset, FLAGS.data_dir))


if __name__ == '__main__':
    run_script(main, max_arguments=1)

"""Renews the tables of results in README and docs/speed.md: python tools/report.py [--check]."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from absl import flags

from permafrost import runtime
from permafrost.flags import run_script
from permafrost.experiments import accuracy_tables, benchmark_tables

flags.DEFINE_string('readme', 'README.md', 'File whose tables of accuracy to renew.')
flags.DEFINE_string('speed', 'docs/speed.md', 'File whose tables of speed to renew.')
flags.DEFINE_string('results', 'results', 'Folder of the results.')
flags.DEFINE_bool('check', False, 'Change nothing; exit 1 where a table is stale.')
FLAGS = flags.FLAGS


def main():
    runtime.prepare()
    accuracy_tables.update(FLAGS.readme, accuracy_tables.tables(accuracy_tables.load(FLAGS.results)), check=FLAGS.check)
    for table in (benchmark_tables.pipeline, benchmark_tables.training, benchmark_tables.inference):
        accuracy_tables.update(FLAGS.speed, table(FLAGS.results), table.__name__, FLAGS.check)


if __name__ == '__main__':
    run_script(main)

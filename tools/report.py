"""Update the generated tables of README.md and docs/speed.md: python tools/report.py [--check]."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from absl import flags

from permafrost.experiments import accuracy_tables, benchmark_tables, markdown, results
from permafrost.flags import run_script

flags.DEFINE_string('readme', 'README.md', 'File with the accuracy tables.')
flags.DEFINE_string('speed', 'docs/speed.md', 'File with the speed tables.')
flags.DEFINE_string('results', 'results', 'Folder of the results.')
flags.DEFINE_bool('check', False, 'Write nothing. Exit with code 1 if a table is stale.')
FLAGS = flags.FLAGS


def main():
    accuracies = accuracy_tables.table(results.load(FLAGS.results))
    markdown.update_block(FLAGS.readme, 'results', accuracies, FLAGS.check)
    for name, tables in benchmark_tables.TABLES.items():
        markdown.update_block(FLAGS.speed, name, tables(FLAGS.results), FLAGS.check)


if __name__ == '__main__':
    run_script(main)

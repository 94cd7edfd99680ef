#!/usr/bin/env python3
"""Update the tables and pictures of README.md and docs/speed.md: tools/report.py [--check]."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from permafrost import interpreter

interpreter.check()

from absl import flags

from permafrost.experiments import accuracy_tables, benchmark_tables, markdown, results
from permafrost.experiments.reports import readme_pictures
from permafrost.flags import run_script

flags.DEFINE_string('readme', None, 'File with the accuracy tables. Default: README.md, without '
                    '--speed.')
flags.DEFINE_string('speed', None, 'File with the speed tables. Default: docs/speed.md, without '
                    '--readme.')
flags.DEFINE_string('results', 'results', 'Folder of the results.')
flags.DEFINE_bool('check', False, 'Write nothing. Exit with code 1 if a table is stale.')
FLAGS = flags.FLAGS


def main():
    readme, speed = FLAGS.readme, FLAGS.speed
    if readme is speed is None:
        readme, speed = 'README.md', 'docs/speed.md'
        readme_pictures.update(readme, FLAGS.results, readme_pictures.FOLDER, FLAGS.check)
    if readme:
        accuracies = accuracy_tables.table(results.load(FLAGS.results))
        markdown.update_block(readme, 'results', accuracies, FLAGS.check)
    for name, tables in benchmark_tables.TABLES.items() if speed else ():
        markdown.update_block(speed, name, tables(FLAGS.results), FLAGS.check)


if __name__ == '__main__':
    run_script(main)

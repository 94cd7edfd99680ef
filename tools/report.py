"""Renews the tables of results in README and docs/speed.md: python tools/report.py [--check]."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from absl import flags

from permafrost import cli, engine, report

flags.DEFINE_string('readme', 'README.md', 'File whose table to renew.')
flags.DEFINE_string('speed', 'docs/speed.md', 'File whose table of training to renew.')
flags.DEFINE_string('results', 'results', 'Folder of the results.')
flags.DEFINE_bool('check', False, 'Change nothing; exit 1 where the table is stale.')
FLAGS = flags.FLAGS


def main():
    engine.prepare()
    report.update(FLAGS.readme, report.tables(report.load(FLAGS.results)), check=FLAGS.check)
    report.update(FLAGS.speed, report.training(FLAGS.results), 'training', FLAGS.check)


if __name__ == '__main__':
    cli.run(main)

#!/usr/bin/env python3
"""Update the tables and pictures of README.md and docs: tools/report.py [--check]."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost import engines
from permafrost.entry_point import run_script
from permafrost.experiments import markdown, results
from permafrost.experiments.reports import readme_pictures, recorded_studies
from permafrost.experiments.tables import accuracy, inference, training

PAGES = {'readme': 'README.md', 'speed': 'docs/speed.md', 'deploy': 'docs/deploy.md'}
for name, page in PAGES.items():
    flags.DEFINE_string(name, None, 'File with the tables of ' + page + '. Default: all pages.')
flags.DEFINE_string('results', 'results', 'Folder of the results.')
flags.DEFINE_bool('check', False, 'Write nothing. Exit with code 1 if a table is stale.')
FLAGS = flags.FLAGS


def main():
    engines.prepare()  # the operations of models that are not trained yet
    folder, check = FLAGS.results, FLAGS.check
    named = {name: FLAGS[name].value for name in PAGES if FLAGS[name].value}
    if not named:
        readme_pictures.update(PAGES['readme'], folder, readme_pictures.FOLDER, check)
        recorded_studies.update('docs/experiments.md', folder, readme_pictures.FOLDER, check)
    tables = {'readme': {'results': lambda folder: accuracy.table(results.load(folder))},
              'speed': {**training.TABLES, **inference.TABLES},
              'deploy': inference.DEPLOY_TABLES}
    for name, path in (named or PAGES).items():
        for block, table in tables[name].items():
            markdown.update_block(path, block, table(folder), check)


if __name__ == '__main__':
    run_script(main)

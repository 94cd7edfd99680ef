#!/usr/bin/env python3
"""List the models: bin/permafrost info; --all counts their operations."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost.cli import interpreter

interpreter.check()

from absl import flags

from permafrost.entry_point import run_script
from permafrost.experiments import model_info
from permafrost.flags import define_dataset_flag

flags.DEFINE_string('model', None, 'Model to show, layer by layer.')
flags.DEFINE_bool('all', False, 'Show the counts of every model, one per line.')
flags.DEFINE_integer('image_size', None, "Side of the images in pixels. Default: the recipe's, 24 "
                     'or 32; --all shows tuto at both.', 1, 4096)
define_dataset_flag(more_help=' Only its number of classes is used.')
flags.DEFINE_string('graph', None, 'Frozen graph to show instead of models: .pb, .pbtxt, '
                    'a SavedModel directory, a frozen run, or NAME in trained_models/.')
flags.DEFINE_string('run', None, 'Run to show instead of models: its state and its layers.')
flags.DEFINE_bool('recipes', False, 'List the recipes instead of models.')
flags.DEFINE_bool('layers', False, 'List every layer of each model. With --all: instead '
                  'of the totals.')
flags.DEFINE_bool('json', False, 'Print JSON instead of tables.')
FLAGS = flags.FLAGS


def main():
    model_info.run(FLAGS)


if __name__ == '__main__':
    run_script(main, prints_result=True)

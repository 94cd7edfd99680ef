#!/usr/bin/env python3
"""Write a SavedModel directory, or a graph as text, as a frozen graph: write_graph.py DIR FILE.pb.

label_image.sh does it for the graphs that the C++ program cannot read.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from permafrost.cli import interpreter

interpreter.check()

from permafrost import engines, files
from permafrost.entry_point import run_script
from permafrost.errors import UsageError
from permafrost.evaluation.frozen_graphs import file_kinds
from permafrost.evaluation.frozen_graphs.reading import isolation


def main(*paths):
    if len(paths) != 2:
        raise UsageError('name a SavedModel directory or a .pbtxt file, and the .pb file to write')
    source, target = paths
    file_kinds.check_graph_file(source)
    isolation.continue_in_child(source)
    engines.prepare()
    from permafrost.evaluation.frozen_graphs import graph_def  # imports TensorFlow
    files.write_atomically(target, graph_def.read_graph(source).SerializeToString())


if __name__ == '__main__':
    run_script(main, max_arguments=2)

#!/usr/bin/env python3
"""Evaluate a run, or a frozen graph with --graph FILE.pb: python eval.py --run runs/tuto/1."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from permafrost import interpreter

interpreter.check()

from absl import flags

from permafrost import flags as shared_flags, isolation, runs, runtime
from permafrost.evaluation import file_kinds
from permafrost.evaluation.tta import TTA
from permafrost.experiments import results

shared_flags.define_checkpoint_flags()
shared_flags.define_run_dataset_flags(' For a graph: cifar10.')
flags.DEFINE_enum('split', 'test', ['test', 'train'], 'Split of the dataset to evaluate on.')
flags.DEFINE_bool('follow', False, 'Keep evaluating new checkpoints until training ends.')
flags.DEFINE_integer('batch_size', 500, 'Images per batch; does not affect the results.', 1)
flags.DEFINE_enum('tta', 'none', list(TTA), 'Test-time augmentation: average the logits of '
                  'mirrored (flip) and shifted (flip_shift) images. Adds a second accuracy.')
flags.DEFINE_bool('profile', False, 'Also write a trace of one batch for ui.perfetto.dev.')
flags.DEFINE_string('results', None, 'Folder in which to also record the result of a finished run.')
flags.DEFINE_string('graph', None, 'Frozen graph (.pb) to evaluate instead of a run.')
shared_flags.define_graph_flags()
flags.DEFINE_bool('allow_any_op', False, 'With --graph: also run operations that inference does '
                  'not need. They can write files: do not use it for graphs from strangers.')
FLAGS = flags.FLAGS


def main():
    run = None
    if not shared_flags.uses_frozen_graph(FLAGS):
        run = FLAGS.run or runs.latest_run(FLAGS.log_dir)
        runs.read_config(run)  # report a wrong directory before the slow import
    else:
        file_kinds.check_graph_file(FLAGS.graph)
        isolation.continue_in_child(FLAGS.graph)
    session_config = runtime.prepare()
    from permafrost.evaluation import evaluate  # imports TensorFlow, after its threads are set
    images = {name: FLAGS[name].value
              for name in ('dataset', 'data_dir', 'split', 'batch_size', 'tta')}
    if not run:
        stated = evaluate.Statement(**{name: FLAGS[name].value
                                       for name in shared_flags.GRAPH_FLAGS})
        evaluate.evaluate_frozen_graph(FLAGS.graph, session_config, stated, **images,
                                       allow_any_op=FLAGS.allow_any_op)
        return
    metrics = evaluate.evaluate_run(
        run, session_config, step=FLAGS.step, continuous=FLAGS.follow, profile=FLAGS.profile,
        require_same_data=bool(FLAGS.results), weights=FLAGS.weights, **images)
    if FLAGS.results:
        print('result:', results.record(FLAGS.results, run, metrics))


if __name__ == '__main__':
    shared_flags.run_script(main, prints_result=True)

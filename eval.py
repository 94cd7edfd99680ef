"""Evaluates a run, python eval.py --run runs/tuto/1, or a frozen graph, --graph FILE.pb."""

import sys

from absl import flags

from permafrost import runs, runtime
from permafrost.flags import (
    define_checkpoint_flags,
    define_graph_flags,
    define_run_dataset_flags,
    run_script,
    uses_frozen_graph)
from permafrost.evaluation import tta

SCRIPT = {'module_name': sys.argv[0]}
define_checkpoint_flags()
define_graph_flags()
flags.DEFINE_enum('split', 'test', ['test', 'train'], 'Images to evaluate on.', **SCRIPT)
flags.DEFINE_bool('follow', False, 'Evaluate every new checkpoint of a running training, and '
                  'end with it.', **SCRIPT)
flags.DEFINE_integer('batch_size', 500, 'Images at a time; changes no result.', 1, **SCRIPT)
flags.DEFINE_enum('tta', 'none', sorted(tta.TTA), 'Test-time augmentation: also average the logits of '
                  'mirrored (and moved) images. Accuracy is given without and with it.', **SCRIPT)
flags.DEFINE_bool('profile', False, 'Also write a trace of one batch.', **SCRIPT)
flags.DEFINE_string('results', None, 'Folder in which to record the result of a finished run.',
                    **SCRIPT)
define_run_dataset_flags()
FLAGS = flags.FLAGS


def main():
    images = {'split': FLAGS.split, 'batch_size': FLAGS.batch_size, 'dataset': FLAGS.dataset,
              'data_dir': FLAGS.data_dir, 'tta': FLAGS.tta}
    from_graph = uses_frozen_graph(FLAGS)
    run = FLAGS.run or (None if from_graph else runs.latest_run(FLAGS.log_dir))
    if run:
        runs.read_config(run)  # report a wrong directory before the slow import
    session_config = runtime.prepare()
    from permafrost.evaluation import evaluate  # imports TensorFlow, after its threads are set
    if from_graph:
        evaluate.evaluate_frozen_graph(FLAGS.graph, session_config, image_size=FLAGS.image_size,
                                       **images)
    else:
        evaluate.evaluate_run(run, session_config, step=FLAGS.step, weights=FLAGS.weights,
                              following=FLAGS.follow, profile=FLAGS.profile,
                              results_dir=FLAGS.results, **images)


if __name__ == '__main__':
    run_script(main)

"""Freezes a run into one file: python freeze_graph.py --run runs/tuto/1."""

import sys

from absl import flags

from permafrost import runs, runtime
from permafrost.flags import define_checkpoint_flags, define_run_dataset_flags, run_script

SCRIPT = {'module_name': sys.argv[0]}
define_checkpoint_flags()
flags.DEFINE_string('output', None, 'File to write, ending in .pb; a json file beside it says '
                    'what it is. Default: trained_models/<model>.pb.', **SCRIPT)
flags.DEFINE_string('saved_model', None, 'Also make this directory, with a SavedModel for '
                    'TF Serving.', **SCRIPT)
define_run_dataset_flags()
FLAGS = flags.FLAGS


def main():
    run = FLAGS.run or runs.latest_run(FLAGS.log_dir)
    runs.read_config(run)  # a wrong directory is answered before the slow import
    session_config = runtime.prepare()
    from permafrost.export import freeze  # imports TensorFlow, whose threads are set by now
    freeze.freeze(run, session_config, step=FLAGS.step, weights=FLAGS.weights,
                  output=FLAGS.output, saved_model=FLAGS.saved_model, dataset=FLAGS.dataset,
                  data_dir=FLAGS.data_dir)


if __name__ == '__main__':
    run_script(main)

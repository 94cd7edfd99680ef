"""Freezes a run into one file: python freeze_graph.py --run runs/tuto/1."""

import sys

from absl import flags

from permafrost import cli, config, engine, runs

SCRIPT = {'module_name': sys.argv[0]}
config.define_checkpoint_flags()
flags.DEFINE_string('output', None, 'File to write, ending in .pb; a json file beside it says '
                    'what it is. Default: trained_models/<model>.pb.', **SCRIPT)
flags.DEFINE_string('saved_model', None, 'Also make this directory, with a SavedModel for '
                    'TF Serving.', **SCRIPT)
config.define_run_data()
FLAGS = flags.FLAGS


def main():
    run = FLAGS.run or runs.newest(FLAGS.log_dir)
    runs.read_config(run)  # a wrong directory is answered before the slow import
    session_config = engine.prepare()
    from permafrost import export  # imports TensorFlow, whose threads are set by now
    export.freeze(run, session_config, step=FLAGS.step, weights=FLAGS.weights,
                  output=FLAGS.output, saved_model=FLAGS.saved_model, data_set=FLAGS.data_set,
                  data_dir=FLAGS.data_dir)


if __name__ == '__main__':
    cli.run(main)

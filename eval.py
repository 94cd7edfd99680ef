"""Evaluates a run: python eval.py --run runs/tuto/1."""

import sys

from absl import flags

from permafrost import cli, config, engine, runs

SCRIPT = {'module_name': sys.argv[0]}
config.define_run_flags()
flags.DEFINE_integer('step', None, 'Step of the checkpoint; default: the last.', 0, **SCRIPT)
flags.DEFINE_enum('split', 'test', ['test', 'train'], 'Images to evaluate on.', **SCRIPT)
flags.DEFINE_enum('weights', None, ['averaged', 'raw'], 'Which weights; default: averaged '
                  'where the recipe keeps averages.', **SCRIPT)
flags.DEFINE_bool('follow', False, 'Evaluate every new checkpoint of a running training, and '
                  'end with it.', **SCRIPT)
flags.DEFINE_integer('batch_size', 500, 'Images at a time; changes no result.', 1, **SCRIPT)
flags.DEFINE_bool('profile', False, 'Also write a trace of one batch.', **SCRIPT)
flags.DEFINE_string('results', None, 'Folder in which to record the result of a finished run.',
                    **SCRIPT)
config.define_data_dir()
FLAGS = flags.FLAGS


def main():
    run = FLAGS.run or runs.newest(FLAGS.log_dir)
    runs.read_config(run)  # a wrong directory is answered before the slow import
    session_config = engine.prepare()
    from permafrost import evaluation  # imports TensorFlow, whose threads are set by now
    evaluation.evaluate(
        run, session_config, split=FLAGS.split, weights=FLAGS.weights, step=FLAGS.step,
        following=FLAGS.follow, batch_size=FLAGS.batch_size, profile=FLAGS.profile,
        results_dir=FLAGS.results, data_dir=FLAGS.data_dir)


if __name__ == '__main__':
    cli.run(main)

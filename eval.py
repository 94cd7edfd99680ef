"""Evaluates a run, python eval.py --run runs/tuto/1, or a frozen graph, --graph FILE.pb."""

import sys

from absl import flags

from permafrost import cli, config, engine, runs
from permafrost.tta import TTA

SCRIPT = {'module_name': sys.argv[0]}
config.define_checkpoint_flags()
config.define_graph_flags()
flags.DEFINE_enum('split', 'test', ['test', 'train'], 'Images to evaluate on.', **SCRIPT)
flags.DEFINE_bool('follow', False, 'Evaluate every new checkpoint of a running training, and '
                  'end with it.', **SCRIPT)
flags.DEFINE_integer('batch_size', 500, 'Images at a time; changes no result.', 1, **SCRIPT)
flags.DEFINE_enum('tta', 'none', sorted(TTA), 'Test-time augmentation: also average the logits of '
                  'mirrored (and moved) images. Accuracy is given without and with it.', **SCRIPT)
flags.DEFINE_bool('profile', False, 'Also write a trace of one batch.', **SCRIPT)
flags.DEFINE_string('results', None, 'Folder in which to record the result of a finished run.',
                    **SCRIPT)
config.define_run_data()
FLAGS = flags.FLAGS


def main():
    options = {name: FLAGS[name].value for name in 'split batch_size data_set data_dir tta'.split()}
    if config.of_graph(FLAGS):
        kind, target = 'evaluate_graph', FLAGS.graph
        options.update(image_size=FLAGS.image_size)
    else:
        kind, target = 'evaluate', FLAGS.run or runs.newest(FLAGS.log_dir)
        runs.read_config(target)  # a wrong directory is answered before the slow import
        options.update(step=FLAGS.step, weights=FLAGS.weights, following=FLAGS.follow,
                       profile=FLAGS.profile, results_dir=FLAGS.results)
    session_config = engine.prepare()
    from permafrost import evaluation  # imports TensorFlow, whose threads are set by now
    getattr(evaluation, kind)(target, session_config, **options)


if __name__ == '__main__':
    cli.run(main)

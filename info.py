"""Prints the size of models, --model tuto, or of a frozen --graph; or lists the --recipes."""

from absl import flags

from permafrost.flags import define_dataset_flag, explicitly_set, run_script
from permafrost.errors import UsageError
from permafrost.experiments import model_info

FLAGS = flags.FLAGS

flags.DEFINE_string('model', None, 'Model to show, layer by layer. Default: all.')
flags.DEFINE_bool('all', False, 'Show every model, a line each.')
flags.DEFINE_integer('image_size', None, "Side of the images, in pixels. Default: the model's, 24 "
                     'or 32; --all has tuto at both.')
define_dataset_flag(more_help=' Its classes count.')
flags.DEFINE_string('graph', None, 'Frozen graph to show, in place of models.')
flags.DEFINE_bool('recipes', False, 'List the recipes, in place of models.')
flags.DEFINE_bool('layers', False, 'A line per layer for --all too; with --json, list layers.')
flags.DEFINE_bool('json', False, 'Print a json list instead of tables.')


def main():
    if FLAGS.all and FLAGS.model is not None:
        raise UsageError('give --model or --all, not both')
    if FLAGS.graph is not None:
        if FLAGS.all or {'model', 'image_size', 'dataset', 'recipes'} & set(explicitly_set(FLAGS)):
            raise UsageError('--graph goes with --json alone')
        model_info.show_graph(FLAGS.graph, FLAGS.json)
    elif FLAGS.recipes:
        if FLAGS.all or {'model', 'image_size', 'dataset'} & set(explicitly_set(FLAGS)):
            raise UsageError('--recipes goes with --json alone')
        model_info.show_recipes(FLAGS.json)
    else:
        model_info.show(FLAGS.model, FLAGS.image_size, FLAGS.layers, FLAGS.json, FLAGS.dataset)


if __name__ == '__main__':
    run_script(main)

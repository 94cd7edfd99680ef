"""Prints the size of models, --model tuto, or of a frozen --graph; or lists the --recipes."""

from absl import flags

from permafrost import cli
from permafrost import info
from permafrost.config import UsageError, define_data_set, given

FLAGS = flags.FLAGS

flags.DEFINE_string('model', None, 'Model to show, layer by layer. Default: all.')
flags.DEFINE_bool('all', False, 'Show every model, a line each.')
flags.DEFINE_integer('image_size', None, "Side of the images, in pixels. Default: the model's, 24 "
                     'or 32; --all has tuto at both.')
define_data_set(more=' Its classes count.')
flags.DEFINE_string('graph', None, 'Frozen graph to show, in place of models.')
flags.DEFINE_bool('recipes', False, 'List the recipes, in place of models.')
flags.DEFINE_bool('layers', False, 'A line per layer for --all too; with --json, list layers.')
flags.DEFINE_bool('json', False, 'Print a json list instead of tables.')


def main():
    if FLAGS.all and FLAGS.model is not None:
        raise UsageError('give --model or --all, not both')
    if FLAGS.graph is not None:
        if FLAGS.all or {'model', 'image_size', 'data_set', 'recipes'} & set(given(FLAGS)):
            raise UsageError('--graph goes with --json alone')
        info.show_graph(FLAGS.graph, FLAGS.json)
    elif FLAGS.recipes:
        if FLAGS.all or {'model', 'image_size', 'data_set'} & set(given(FLAGS)):
            raise UsageError('--recipes goes with --json alone')
        info.show_recipes(FLAGS.json)
    else:
        info.show(FLAGS.model, FLAGS.image_size, FLAGS.layers, FLAGS.json, FLAGS.data_set)


if __name__ == '__main__':
    cli.run(main)

"""Show the parameters and operations of models: python info.py, or --model tuto for its layers."""

from absl import flags

from permafrost.errors import UsageError
from permafrost.experiments import model_info
from permafrost.flags import define_dataset_flag, explicitly_set, run_script

flags.DEFINE_string('model', None, 'Model to show, layer by layer.')
flags.DEFINE_bool('all', False, 'Show every model, one per line. This is the default.')
flags.DEFINE_integer('image_size', None, "Side of the images in pixels. Default: the recipe's, 24 "
                     'or 32; --all shows tuto at both.', 1, 4096)
define_dataset_flag(more_help=' Only its number of classes is used.')
flags.DEFINE_string('graph', None, 'Frozen graph (.pb) to show instead of models.')
flags.DEFINE_bool('recipes', False, 'List the recipes instead of models.')
flags.DEFINE_bool('layers', False, 'Also list the layers with --all or --json.')
flags.DEFINE_bool('json', False, 'Print JSON instead of tables.')
FLAGS = flags.FLAGS


def main():
    if FLAGS.all and FLAGS.model is not None:
        raise UsageError('use --model or --all, not both')
    for name in ('graph', 'recipes'):
        others = {'all', 'model', 'image_size', 'dataset', 'graph', 'recipes'} - {name}
        if FLAGS[name].value and others & set(explicitly_set(FLAGS)):
            raise UsageError(f'--{name} can be combined with --json only')
    if FLAGS.graph:
        model_info.show_graph(FLAGS.graph, FLAGS.json)
    elif FLAGS.recipes:
        model_info.show_recipes(FLAGS.json)
    else:
        model_info.show(FLAGS.model, FLAGS.image_size, FLAGS.layers, FLAGS.json, FLAGS.dataset)


if __name__ == '__main__':
    run_script(main)

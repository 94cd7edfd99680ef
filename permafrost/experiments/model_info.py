"""How large models and frozen graphs are: parameters, operations and multiply-accumulates."""

import contextlib
import dataclasses
import json
import os
import sys

import models
from permafrost import runtime
from permafrost.datasets import registry
from permafrost.errors import UsageError, unknown_name_error
from permafrost.recipes import catalog

ABOUT = ('For one image. ops: 2 per multiply-accumulate, ReLU, ELU, erf or sigmoid, 1 per bias, '
         'sum or product,\n36 per element of an lrn, all else free. macs: the '
         'multiply-accumulates of convolutions and fully connected layers.')
ABOUT_GRAPH = ABOUT + '''
Of the network alone, from `inputs`; batch normalization as 1 per element. params: all numbers in
float constants.'''
ALSO = [('tuto', 32)]  # published at both sizes
COUNTS = ('params', 'ops', 'macs')
LARGEST = 4096  # pixels


def show(model=None, image_size=None, layers=False, as_json=False, dataset='cifar10'):
    """Prints the counts of `model` (None: of all), at its own image size unless given one, with
    as many classes as `data_set` has.

    As text, a single model is shown layer by layer. Raises UsageError for an unknown model or an
    impossible size before TensorFlow is imported.
    """
    if model is not None and model not in models.MODELS:
        raise unknown_name_error('model', model, models.MODELS)
    if image_size is not None and not 1 <= image_size <= LARGEST:
        raise UsageError('image_size must be from 1 to %d, not %d' % (LARGEST, image_size))
    classes = len(registry.describe(dataset).classes)
    wanted = [(name, image_size or models.IMAGE_SIZES[name])
              for name in ([model] if model else models.MODELS)]
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for what was asked
        runtime.prepare()
    sizes = [measure_model(*pair, classes) for pair in wanted + ([] if model or image_size else ALSO)]
    if as_json:
        if not layers:
            sizes = [{k: size[k] for k in size if k != 'layers'} for size in sizes]
        print(json.dumps(sizes, indent=2))
    else:
        print('\n'.join(_text(sizes, layers or model is not None) + ['', ABOUT]))


def show_graph(path, as_json=False):
    """Prints what is in the frozen graph at `path`: layers, bytes, counts, types of operations.

    Raises UserError where it is none.
    """
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for what was asked
        runtime.prepare()
    size = measure_graph(path)
    if as_json:
        print(json.dumps([size], indent=2))
        return
    types = sorted(size['op_types'].items(), key=lambda item: (-item[1], item[0]))
    lines = ['%s, %s bytes' % (path, '{:,}'.format(size['bytes'])), ''] + _layers(size) + [
        '', 'operations: ' + ', '.join('%d %s' % (count, name) for name, count in types)]
    if size['not_counted']:
        lines.append('not counted: ' + ', '.join(size['not_counted']))
    print('\n'.join(lines + ['', ABOUT_GRAPH]))


def show_recipes(as_json=False):
    """Prints every recipe: for which models, how long, and what its docstring says."""
    found = [{'recipe': name, 'models': [model for model in models.MODELS
                                         if catalog.default_recipe(model) == name],
              'about': recipe.about, 'settings': dataclasses.asdict(recipe)}
             for name, recipe in catalog.RECIPES.items()]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for value in found:
        recipe = catalog.RECIPES[value['recipe']]
        print('%s%s\n  %s; batches of %d, %s, rate %g (%s)' % (
            recipe.name, ' (%s)' % ', '.join(value['models']) if value['models'] else '',
            '%g epochs' % recipe.epochs if recipe.epochs else '%d images' % recipe.images,
            recipe.batch_size, recipe.optimizer, recipe.learning_rate, recipe.schedule))
        print('\n'.join('  ' + line for line in recipe.about.splitlines() if line) + '\n')


def measure_graph(path):
    """{'graph', 'bytes', 'params', 'ops', 'macs', 'layers', 'op_types': {type: number of nodes},
    'not_counted': [types]} of the frozen graph at `path`. Layers' counts may be None: unknown."""
    from permafrost.evaluation import graph_def
    from permafrost.export import layer_counts
    graph = graph_def.read_graph(path)
    layers, not_counted = layer_counts.count_layers(graph)
    return dict({'graph': path, 'bytes': os.path.getsize(path),
                 'op_types': layer_counts.op_types(graph), 'not_counted': not_counted},
                layers=[dict(layer._asdict()) for layer in layers],
                **layer_counts.totals(layers))


def measure_model(model, image_size, classes=10):
    """{'model', 'image_size', 'params', 'ops', 'macs', 'layers': [{...} of each]} of `model`."""
    import tensorflow.compat.v1 as tf  # here, so that names and sizes are checked before
    from models.layers.net import Net
    with tf.Graph().as_default():
        net = Net(training=False, num_classes=classes)
        try:
            models.build(model, net, tf.placeholder(tf.float32, [None, image_size, image_size, 3]))
        except ValueError as error:
            raise UsageError('%s cannot take images of %dx%d (%s): name others with --model, or a '
                             'larger --image_size' % (model, image_size, image_size,
                                                      str(error).splitlines()[0]))
    return dict({'model': model, 'image_size': image_size},
                layers=[dict(layer._asdict()) for layer in net.layers],
                **{count: sum(getattr(layer, count) for layer in net.layers) for count in COUNTS})


def _text(sizes, layers):
    """The lines of a table of models or, with `layers`, of a table for each model."""
    if not layers:
        return _table([('model', 'images') + COUNTS] + [
            (size['model'], '%dx%d' % ((size['image_size'],) * 2)) + _counts(size)
            for size in sizes])
    lines = []
    for size in sizes:
        lines += ['%s, %dx%d images' % ((size['model'],) + (size['image_size'],) * 2), '']
        lines += _layers(size) + [''] * (size is not sizes[-1])
    return lines


def _layers(size):
    """The lines of a table of layers, and their total."""
    return _table([('layer', 'kind', 'output') + COUNTS] + [
        (layer['name'], layer['kind'], 'x'.join(map(str, layer['output_shape'] or '?')))
        + _counts(layer) for layer in size['layers']] + [('total', '', '') + _counts(size)])


def _counts(value):
    return tuple('?' if value[count] is None else '{:,}'.format(value[count]) for count in COUNTS)


def _table(rows):
    """Lines of columns: the counts flush right, what comes before flush left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    left = len(widths) - len(COUNTS)
    return ['  '.join(cell.ljust(width) if i < left else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))) for row in rows]

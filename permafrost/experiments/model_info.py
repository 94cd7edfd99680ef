"""The size of models and frozen graphs, and the list of recipes, as info.py prints them."""

import contextlib
import json
import os
import sys
from typing import Any, Dict, List, Optional, Sequence

import models
from permafrost import engines, runs
from permafrost.cli import trained_models
from permafrost.cli.commands import next_command
from permafrost.datasets import registry
from permafrost.errors import UsageError, UserError, one_line, printable, unknown_name_error
from permafrost.evaluation.frozen_graphs import file_kinds
from permafrost.evaluation.frozen_graphs.reading import isolation, model_card
from permafrost.evaluation.runtimes import client
from permafrost.experiments import markdown
from permafrost.flags import explicitly_set
from permafrost.recipes import catalog

CONVENTION = '''For one image. ops: 2 per multiply-accumulate, ReLU, ELU, erf or sigmoid, 1 per
bias, sum, product, maximum or square root, 36 per element of an lrn; everything else is free.
macs: the multiply-accumulates of convolutions and fully connected layers.'''
GRAPH_CONVENTION = CONVENTION + '''
Counts start at `inputs`. Batch normalization: 1 per element. params: all numbers in constants but
32-bit and 64-bit integers. ?: not counted, because the operation or the size of the images is not
known (--image_size).'''
COUNTS = ('params', 'ops', 'macs')

Size = Dict[str, Any]  # COUNTS, 'layers' and what was measured


def run(values: Any) -> None:
    """Print what the flags of info.py (absl FlagValues) ask for. Raises UsageError."""
    given = explicitly_set(values)
    if values.all and values.model is not None:
        raise UsageError('use --model or --all, not both')
    for name, with_flags in (('graph', ('image_size', 'json')), ('run', ('json',)),
                             ('recipes', ('json',))):
        if values[name].value and set(given) - {name, *with_flags}:
            raise UsageError(f'--{name} can be combined with --json'
                             f"{' and --image_size' if name == 'graph' else ''} only")
    if values.graph:
        show_graph(values.graph, values.json, values.image_size)
    elif values.run:
        show_run(values.run, values.json)
    elif values.recipes:
        show_recipes(values.json)
    elif not given:
        show_models(trained_models.FOLDER)
    else:
        show(values.model, values.image_size, values.layers, values.json, values.dataset)


def show(model: Optional[str] = None, image_size: Optional[int] = None, layers: bool = False,
         as_json: bool = False, dataset: str = 'cifar10') -> None:
    """Print the counts of `model` (None: of all), at the image size of its recipe by default.

    As text, a single model is listed layer by layer. `dataset` gives the number of classes.
    Raises UsageError for an unknown model, before TensorFlow is imported, and for images that are
    too small for `model`. Of all models, the counts of these are unknown.
    """
    if model is not None and model not in models.ALL:
        raise unknown_name_error('model', model, models.ALL)
    classes = len(registry.describe(dataset).classes)
    pairs = [(name, image_size or catalog.image_size(name))
             for name in ([model] if model else models.MODELS)]
    if not model and not image_size:
        pairs.append(('tuto', 32))  # published at both sizes
    _prepare_runtime()
    measure = measure_model if model else _measure_if_possible
    sizes = [measure(name, side, classes) for name, side in pairs]
    if as_json:
        if not layers:
            for size in sizes:
                del size['layers']
        print(json.dumps(sizes, indent=2))
        return
    rows, lines = [('model', 'images') + COUNTS], []
    for size in sizes:
        side = '{0}x{0}'.format(size['image_size'])
        rows.append((size['model'], side, *_counts(size)))
        lines += [f"{size['model']}, {side} images", '', *_layer_table(size), '']
    if not (layers or model):
        lines = [*markdown.aligned(rows, len(COUNTS)), '']
    print('\n'.join([*lines, CONVENTION]))


def show_models(trained: str) -> None:
    """Print each model with its default recipe and, from the folder `trained`, its file.

    Counts nothing, so that it takes no time.
    """
    rows: List[Sequence[str]] = [('model', 'recipe', 'images', 'trained file')]
    for name in models.MODELS:
        paths = [os.path.join(trained, name + suffix) for suffix in trained_models.SUFFIXES]
        path = next(filter(os.path.exists, paths), '')
        graph, recipe = '', catalog.default_recipe(name)
        if path:
            graph = os.path.relpath(path)
            card = model_card.read_model_card(path)
            if card.accuracy is not None:
                graph += f', accuracy {card.accuracy:.4f}'
            if card.recipe not in (None, recipe):
                graph += f' (recipe {printable(card.recipe)})'
        rows.append((name, recipe, '{0}x{0}'.format(catalog.image_size(name)), graph))
    print('\n'.join([*markdown.aligned(rows), '',
                     f"parameters and operations: {next_command('info.py', '--all')}"]))


def show_run(run: str, as_json: bool = False) -> None:
    """Print what `run` is, how far it is, and the layers of its model.

    Raises UserError if it is not a run.
    """
    config, extra = runs.read_config(run)
    state, step = runs.state(run, config)
    facts = {'run': run, 'recipe': config.recipe.name,
             'dataset': registry.display_name(config.dataset, config.data_dir),
             'state': state, 'step': step, 'steps': config.steps}
    _prepare_runtime()
    size = measure_model(config.model, config.recipe.image_size, len(extra['classes']))
    if as_json:
        print(json.dumps([dict(facts, **size)], indent=2))
        return
    print('\n'.join([*(f'{name}: {printable(str(value))}' for name, value in facts.items()),
                     f"model: {size['model']}, {{0}}x{{0}} images".format(size['image_size']), '',
                     *_layer_table(size), '', CONVENTION]))


def show_graph(path: str, as_json: bool = False, image_size: Optional[int] = None) -> None:
    """Print the layers, counts and types of operations of the frozen graph at `path`.

    `image_size` is that of the images if the graph leaves it open.
    """
    path = file_kinds.graph_file(path)
    if os.path.exists(path) and os.path.splitext(path)[1] in client.RUNTIME_OF:
        is_described = os.path.exists(path + '.json')
        hint = f'see {path}.json' if is_described else 'name the .pb file it was made from'
        raise UserError(f'{path} is not a TensorFlow graph, so its operations cannot be counted: '
                        f'{hint}')
    file_kinds.check_graph_file(path)
    isolation.continue_in_child(path)
    size = measure_graph(path, image_size, _prepare_runtime())
    if as_json:
        print(json.dumps([size], indent=2))
        return
    types = sorted(size['op_types'].items(), key=lambda item: (-item[1], item[0]))
    title = model_card.read_model_card(path).title(path)
    lines = [f"{title}, {size['bytes']:,} bytes", '', *_layer_table(size), '',
             'operations: ' + ', '.join(f'{count} {printable(name)}' for name, count in types)]
    if size['not_counted']:
        lines.append('not counted: ' + ', '.join(map(printable, size['not_counted'])))
    print('\n'.join(lines + ['', GRAPH_CONVENTION]))


def show_recipes(as_json: bool = False) -> None:
    """Print every recipe: its models, its length and its description."""
    if as_json:
        print(json.dumps([
            {'recipe': name, 'models': recipe.default_for, 'about': recipe.description,
             'settings': recipe.to_json()} for name, recipe in catalog.RECIPES.items()], indent=2))
        return
    for name, recipe in catalog.RECIPES.items():
        length = f'{recipe.epochs:g} epochs' if recipe.epochs else f'{recipe.train_images} images'
        print(name + (f" ({', '.join(recipe.default_for)})" if recipe.default_for else ''))
        print(f'  {length}; batch size {recipe.batch_size}, {recipe.optimizer}, learning rate '
              f'{recipe.learning_rate:g} ({recipe.schedule})')
        print('\n'.join(f'  {line}' for line in recipe.description.splitlines() if line) + '\n')


def measure_graph(path: str, image_size: Optional[int] = None, session_config: Any = None) -> Size:
    """Return the size of the frozen graph at `path`. Unknown counts are None.

    A session with `session_config`, a tf.ConfigProto, reads the variables of a SavedModel.
    """
    from permafrost.evaluation.frozen_graphs import graph_def  # imports TensorFlow
    from permafrost.export import layer_counts
    graph = graph_def.read_graph(path, session_config)
    layers, not_counted = layer_counts.count_layers(graph, image_size)
    files_of = [os.path.join(folder, name) for folder, _, names in os.walk(path)
                for name in names] or [path]  # of a SavedModel
    return {'graph': path, 'bytes': sum(map(os.path.getsize, files_of)),
            'op_types': layer_counts.op_types(graph), 'not_counted': not_counted,
            'layers': [dict(layer._asdict()) for layer in layers], **layer_counts.totals(layers)}


def measure_model(model: str, image_size: int, classes: int = 10) -> Size:
    """Return {'model', 'image_size', 'params', 'ops', 'macs', 'layers': [{...} of each]}."""
    from permafrost.export import layer_counts  # imports TensorFlow: names are checked first
    try:
        net, _ = models.build_inference(model, classes, image_size)
    except ValueError as error:
        reason = one_line(error).partition(" for '{{node")[0]
        raise UsageError(
            f'{model} cannot process images of {image_size}x{image_size} pixels '
            f'({reason}): choose a larger --image_size or another --model') from error
    return {'model': model, 'image_size': image_size,
            'layers': [dict(layer._asdict()) for layer in net.layers],
            **layer_counts.totals(net.layers)}


def _measure_if_possible(model: str, image_size: int, classes: int) -> Size:
    """Return measure_model's, with unknown counts if the images are too small for the model."""
    try:
        return measure_model(model, image_size, classes)
    except UsageError:
        return {'model': model, 'image_size': image_size, 'layers': [],
                **dict.fromkeys(COUNTS, None)}


def _prepare_runtime() -> Any:
    with contextlib.redirect_stdout(sys.stderr):  # only the answer goes to stdout
        return engines.prepare()


def _layer_table(size: Size) -> List[str]:
    rows: List[Sequence[str]] = [('layer', 'kind', 'output') + COUNTS]
    for layer in size['layers']:
        output = 'x'.join(map(str, layer['output_shape'] or '?'))
        rows.append((printable(layer['name']), printable(layer['kind']), output, *_counts(layer)))
    return markdown.aligned(rows + [('total', '', '', *_counts(size))], len(COUNTS))


def _counts(value: Size) -> List[str]:
    return ['?' if value[count] is None else f'{value[count]:,}' for count in COUNTS]

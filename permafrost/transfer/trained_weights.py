"""Trained weights by the names of their variables: the inverse of freezing."""

import os
from typing import Dict, List, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.config import Config
from permafrost.datasets.loading import Dataset
from permafrost.errors import UserError, one_line, printable
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.reading import labels
from permafrost.evaluation.frozen_graphs.reading.model_card import read_model_card
from permafrost.inputs import pipeline
from permafrost.training.checkpoints import finding
from permafrost.training.compression import pruning
from permafrost.training.initialization import FoldedNorm, TrainedWeights
from permafrost.training.optimization import weight_averaging
from permafrost.training.setup import TrainSetup, find_graph

BATCH_SIZE = 500  # images


def with_trained_weights(train_setup: TrainSetup,
                         session_config: Optional[tf.ConfigProto]) -> TrainSetup:
    """Return `train_setup` with the weights of its --init_from, unless it has a checkpoint.

    Raises UserError if they cannot be read.
    """
    config = train_setup.config
    if config.init_from is None or (train_setup.resume and
                                    finding.list_checkpoints(train_setup.run)):
        return train_setup
    return train_setup._replace(trained=read(config.init_from, config, train_setup.dataset,
                                             session_config))


def read(source: str, config: Config, dataset: Dataset,
         session_config: Optional[tf.ConfigProto] = None) -> TrainedWeights:
    """Return the weights of a run, of a graph of freeze_graph.py, or of NAME in trained_models/.

    `config` and `dataset` are those of the new training. Raises UserError.
    """
    if os.path.isdir(source):
        return _read_run(source, config, dataset)
    path = find_graph(source, 'init_from')
    _note_held_out(path, config, dataset, read_model_card(path).dataset_identity)
    graph = graph_def.read_graph(path)
    classes = tuple(labels.in_graph(graph))
    try:
        values = {node.name: graph_def.value_of(node) for node in graph.node
                  if node.op == 'Const' and node.attr['dtype'].type == tf.float32.as_datatype_enum}
        norms = _read_norms(graph, values, config, dataset, session_config)
    except tf.errors.ResourceExhaustedError:  # out of memory: the graph is not to blame
        raise
    except (LookupError, MemoryError, TypeError, ValueError, tf.errors.OpError) as error:
        raise UserError(f'{printable(path)} has no weights to start from ({one_line(error)}): '
                        'name another --init_from')
    return TrainedWeights(path, values, classes, norms)


def _read_run(run: str, config: Config, dataset: Dataset) -> TrainedWeights:
    """Return the weights of the last checkpoint of `run`, averaged if its recipe averages."""
    theirs, extra = runs.read_config(run)
    step, checkpoint = finding.find_checkpoint(run)
    average = '/' + weight_averaging.NAME
    try:
        with finding.open_checkpoint(checkpoint) as reader:
            names = reader.get_variable_to_shape_map()
            values = {name: pruning.masked(reader, name, reader.get_tensor(
                name + average if name + average in names else name))
                      for name in names if not name.endswith(average)}
    except (OSError, tf.errors.OpError) as error:  # a training may have just deleted it
        raise UserError(f'cannot read {checkpoint} ({one_line(error)}): try again')
    # Weights that it began with itself may have seen the images.
    if theirs.init_from or (theirs.validation, theirs.seed) != (config.validation, config.seed):
        _note_held_out(run, config, dataset, extra.get('dataset_identity'))
    for field in ('normalize', 'image_size'):
        old, new = getattr(theirs.recipe, field), getattr(config.recipe, field)
        if old != new:
            print(f'note: {printable(run)} was trained with --{field}={old}, not {new}', flush=True)
    weights = theirs.recipe.default_weights
    return TrainedWeights(f'{run} (step {step}, {weights} weights)', values,
                          tuple(extra['classes']))


def _note_held_out(source: str, config: Config, dataset: Dataset, identity: Optional[str]) -> None:
    """Print if `source` may have been trained on images of `dataset` that are held out now."""
    if config.validation and identity == dataset.identity:
        print(f'note: {printable(source)} was trained on images of {printable(dataset.name)}, '
              'maybe on those that --validation holds out here: the validation accuracy may be too '
              'high. A run with the same --validation and --seed, and without --init_from, has not '
              'seen them', flush=True)


def _read_norms(graph: tf.GraphDef, values: Dict[str, np.ndarray], config: Config,
                dataset: Dataset, session_config: Optional[tf.ConfigProto]
                ) -> Dict[str, FoldedNorm]:
    """Return the folded batch normalizations of `graph`, by scope, for images of `dataset`."""
    nodes = {node.name: node for node in graph.node}
    norms = [name for name, node in nodes.items()
             if node.op == 'BiasAdd' and list(node.input[1:]) == [name + '/shift']]
    if not norms:
        return {}
    # x is what was normalized: with a multiplication where no layer took the scale.
    x = {name: nodes[name + '/Mul'].input[0] if name + '/Mul' in nodes else nodes[name].input[0]
         for name in norms}
    images = pipeline.sample_images(dataset, config, session_config)[:BATCH_SIZE]
    with tf.Graph().as_default() as imported, tf.Session(config=session_config) as session:
        graph_def.import_graph(graph_def.extract_subgraph(graph, ['predictions'], ['inputs']))
        moments = {name: tf.nn.moments(imported.get_tensor_by_name(x[name] + ':0'),
                                       list(range(len(_shape(imported, x[name])) - 1)))
                   for name in norms}
        measured = session.run(moments, {'inputs:0': images})
    folded = {}
    for name in norms:
        shift = values[name + '/shift'].astype(np.float64)
        scale = values.get(name + '/scale', np.ones_like(shift))
        folded[os.path.dirname(name)] = FoldedNorm(
            scale, shift, *(each.astype(np.float64) for each in measured[name]))
    return folded


def _shape(graph: tf.Graph, name: str) -> List[Optional[int]]:
    return graph.get_tensor_by_name(name + ':0').shape.as_list()

"""The inference graph: built for a checkpoint of a run, or imported from a frozen graph."""

from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import tensorflow.compat.v1 as tf

import models
from models.layers.net import Net
from permafrost.config import Config
from permafrost.datasets.loading import Dataset
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import graph_def
from permafrost.inputs import augmentation
from permafrost.recipes.recipe import Recipe


class InferenceGraph(NamedTuple):
    """The tensors of an inference graph. In ours each has the name of its field."""
    images: tf.Tensor  # uint8 [N, H, W, 3], as decoded
    inputs: Optional[tf.Tensor]  # float [N, h, w, 3], preprocessed; None inside an imported graph
    predictions: tf.Tensor  # float [N, classes], logits
    probabilities: tf.Tensor  # float [N, classes], their softmax


def build_inference_graph(config: Config, classes: Sequence[str],
                          image_shape: Tuple[int, int, int]) -> InferenceGraph:
    """Build preprocessing and network in the default graph, for images (H, W, 3) as decoded."""
    images = tf.placeholder(tf.uint8, (None,) + tuple(image_shape), name='images')
    inputs = tf.identity(augmentation.preprocess_eval(images, config.recipe, config.statistics),
                         name='inputs')
    logits = models.build(config.model, Net(training=False, num_classes=len(classes)), inputs)
    logits = tf.identity(logits, name='predictions')
    return InferenceGraph(images, inputs, logits, tf.nn.softmax(logits, name='probabilities'))


def import_own_graph(graph: tf.GraphDef) -> InferenceGraph:
    """Import a frozen graph that freeze wrote into the default graph."""
    graph_def.import_graph(graph)
    return InferenceGraph(*(tf.get_default_graph().get_tensor_by_name(name + ':0')
                            for name in InferenceGraph._fields))


def checkpoint_variable_map(config: Config, weights: str) -> Dict[str, tf.Variable]:
    """Return {name in the checkpoint: variable of the default graph}, 'averaged' or 'raw'.

    Moving statistics have no average: they are not trained. Raises UserError if the recipe keeps
    none.
    """
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    if weights == 'averaged':
        if not config.recipe.ema_decay:
            raise UserError('this run keeps no averages: use --weights=raw')
        for variable in tf.trainable_variables():
            name = variable.op.name
            variables[name + '/ExponentialMovingAverage'] = variables.pop(name)
    return variables


def default_weights(config: Config) -> str:
    """Return the weights that a run is judged by: 'averaged' if its recipe averages, else 'raw'."""
    return 'averaged' if config.recipe.ema_decay else 'raw'


def import_frozen_graph(graph: tf.GraphDef, dataset: Dataset,
                        image_size: Optional[int] = None) -> InferenceGraph:
    """Import a frozen graph into the default graph.

    A graph without preprocessing receives the centre crop of each image, of `image_size` pixels
    (None: what the graph says), standardized by image. Raises UserError if the graph does not
    classify the images of `dataset`, UsageError if `image_size` is missing or has no use.
    """
    graph, shape = graph_def.inference_subgraph(graph), (None,) + dataset.image_shape
    if graph_def.accepts_raw_images(graph):
        if image_size is not None:
            raise UsageError('this graph crops images itself: leave --image_size out')
        images, inputs = tf.placeholder(tf.uint8, shape), None
        graph_def.import_graph(graph, {'images:0': images})
    else:
        size = image_size or graph_def.input_size(graph)
        images = tf.placeholder(tf.uint8, shape, name='images')
        inputs = augmentation.preprocess_eval(images, Recipe('frozen', image_size=size))
        graph_def.import_graph(graph, {'inputs:0': inputs})
    try:
        logits = tf.get_default_graph().get_tensor_by_name('predictions:0')
        logits.set_shape([None, len(dataset.classes)])
    except (KeyError, ValueError):
        raise UserError('this graph has no node `predictions` of shape '
                        f'[N, {len(dataset.classes)}], a logit for each class of {dataset.name}')
    return InferenceGraph(images, inputs, logits, tf.nn.softmax(logits))

"""Inference graph."""

import collections

import tensorflow.compat.v1 as tf
import models

from models.layers.net import Net
from permafrost.errors import UsageError, UserError
from permafrost.evaluation import graph_def
from permafrost.inputs import augmentation
from permafrost.recipes.recipe import Recipe
# `images` uint8 [N, H, W, 3] as decoded; `inputs` float [N, h, w, 3] preprocessed; `predictions`
# logits [N, classes]; `probabilities` their softmax.
InferenceGraph = collections.namedtuple('Inference', 'images inputs predictions probabilities')


def build_inference_graph(config, classes, image_shape):
    """Builds the network without dropout in the default graph: an Inference.

    Args:
      config: a Config.
      classes: names of the classes.
      image_shape: (H, W, 3) of the images as decoded.
    """
    images = tf.placeholder(tf.uint8, (None,) + tuple(image_shape), name='images')
    pixels = tf.identity(augmentation.preprocess_eval(images, config.recipe, config.statistics),
                         name='inputs')
    logits = models.build(config.model, Net(training=False, num_classes=len(classes)), pixels)
    logits = tf.identity(logits, name='predictions')
    return InferenceGraph(images, pixels, logits, tf.nn.softmax(logits, name='probabilities'))


def checkpoint_variable_map(config, weights):
    """{name in a training's checkpoint: variable of the default graph to fill from it}.

    `weights` is 'averaged' or 'raw'. What is not trained (moving statistics) has no average
    and is always restored as it is.
    Raises UserError where averages are asked for and the recipe keeps none.
    """
    restored = {variable.op.name: variable for variable in tf.global_variables()}
    if weights == 'averaged':
        if not config.recipe.average_decay:
            raise UserError('this run keeps no averages: use --weights=raw')
        for variable in tf.trainable_variables():
            restored[variable.op.name + '/ExponentialMovingAverage'] = restored.pop(
                variable.op.name)
    return restored


def default_weights(config):
    """The weights that count for a run: averaged where there are averages."""
    return 'averaged' if config.recipe.average_decay else 'raw'


def import_frozen_graph(graph, dataset, image_size=None):
    """Adds the frozen `graph`, a GraphDef, to the default graph: an Inference.

    A graph that does not preprocess images itself is given their centre of side `image_size`
    (None: what the graph says), each standardized.
    Raises UserError where it is no classifier of the images of `data_set`.
    """
    graph, shape = graph_def.inference_subgraph(graph), (None,) + dataset.image_shape
    if graph_def.accepts_raw_images(graph):
        if image_size is not None:
            raise UsageError('this graph crops images itself: leave --image_size out')
        images, pixels = tf.placeholder(tf.uint8, shape), None
        graph_def.import_graph(graph, {'images:0': images})
    else:
        size = image_size or graph_def.input_size(graph)
        images = tf.placeholder(tf.uint8, shape, name='images')
        pixels = augmentation.preprocess_eval(images, Recipe('frozen', image_size=size))
        graph_def.import_graph(graph, {'inputs:0': pixels})
    try:
        logits = tf.get_default_graph().get_tensor_by_name('predictions:0')
        logits.set_shape([None, len(dataset.classes)])
    except (KeyError, ValueError):
        raise UserError('this graph has no node `predictions` of shape [N, %d], a logit for each '
                        'class of %s' % (len(dataset.classes), dataset.name))
    return InferenceGraph(images, pixels, logits, tf.nn.softmax(logits))

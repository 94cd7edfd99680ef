"""Frozen graphs of untrained models, what frozen graphs answer, and the json files next to them."""

import json
import os

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.datasets import loading, registry
from permafrost.evaluation import inference_graph
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.export import freeze
from permafrost.recipes import catalog, overrides


def read_json(path):
    """Return the value of the json file next to a frozen graph."""
    with open(os.path.splitext(path)[0] + '.json') as stream:
        return json.load(stream)


def logits_of(path_or_graph, images, node='predictions', feed='images'):
    """Return what the node `node` of a frozen graph computes from `images`."""
    graph = path_or_graph
    if not isinstance(graph, tf.GraphDef):
        graph = graph_def.read_graph(graph)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph, name='')
        return session.run(node + ':0', {feed + ':0': images})


def some_images(dataset, count=64):
    return loading.load(dataset, 'test')[0][:count]


STATISTICS = {'per_channel': (125., 123., 114., 63., 62., 67.),  # close to CIFAR-10's
              'per_pixel': tuple(np.linspace(100., 140., 32 * 32 * 3)) + (64.,),
              'yuv_local': (-2., 3., 14., 17.)}


def untrained(name, images, recipe=None, changes=()):
    """Return the frozen graph of a model with random weights, and the logits before freezing."""
    recipe = overrides.get_recipe(recipe or catalog.DEFAULT_RECIPES.get(name, 'tutorial'), changes)
    with tf.Graph().as_default(), tf.Session() as session:
        inference = inference_graph.build_inference_graph(
            Config(name, recipe, 1, statistics=STATISTICS.get(recipe.normalize, ())),
            registry.CIFAR10_CLASSES, registry.IMAGE_SHAPE)
        random, initial = np.random.RandomState(1), {}
        for variable in tf.global_variables():
            if variable.op.name.endswith(('biases', 'beta', 'moving_mean')):
                initial[variable.initial_value] = 0.1 * random.randn(*variable.shape.as_list())
            elif not variable.op.name.endswith(('weights', 'activation_min')):
                initial[variable.initial_value] = random.uniform(0.5, 2, variable.shape.as_list())
        session.run(tf.global_variables_initializer(), initial)
        expected = session.run(inference.predictions, {inference.images: images})
        return freeze.freeze_session(session, registry.CIFAR10_CLASSES), expected

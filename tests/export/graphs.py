"""What the tests of freezing share: graphs, what they answer, and the files beside them."""

import json
import os

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.datasets import loading, registry
from permafrost.evaluation import graph_def, inference_graph
from permafrost.export import graph_passes
from permafrost.recipes import catalog, overrides
from tests import processes

tf.disable_v2_behavior()
tf.enable_resource_variables()

THIRD_PARTY = os.path.join(processes.ROOT, '..', 'shared', 'thirdparty', 'squeeze1.pb')


def read_json(path):
    with open(os.path.splitext(path)[0] + '.json') as stream:
        return json.load(stream)


def logits_of(path_or_graph, images, node='predictions', feed='images'):
    graph = path_or_graph
    if not isinstance(graph, tf.GraphDef):
        graph = graph_def.read_graph(graph)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph, name='')
        return session.run(node + ':0', {feed + ':0': images})


def some_images(dataset, count=64):
    return loading.load(dataset, 'test')[0][:count]


STATISTICS = {'per_channel': (125., 123., 114., 63., 62., 67.),  # about CIFAR-10's
              'per_pixel': tuple(np.linspace(100., 140., 32 * 32 * 3)) + (64.,),
              'yuv_local': (-2., 3., 14., 17.)}


def untrained(name, images, recipe=None, changes=()):
    """The frozen graph of model `name` with random weights, and what eval's graph says."""
    recipe = overrides.get_recipe(recipe or catalog.default_recipe(name), changes)
    with tf.Graph().as_default(), tf.Session() as session:
        inference = inference_graph.build_inference_graph(
            Config(name, recipe, 1, statistics=STATISTICS.get(recipe.standardize, ())),
            registry.CIFAR10_CLASSES, registry.IMAGE_SHAPE)
        random, first = np.random.RandomState(1), {}
        for variable in tf.global_variables():
            if variable.op.name.endswith(('biases', 'beta', 'moving_mean')):
                first[variable.initial_value] = 0.1 * random.randn(*variable.shape.as_list())
            elif not variable.op.name.endswith('weights'):
                first[variable.initial_value] = random.uniform(0.5, 2, variable.shape.as_list())
        session.run(tf.global_variables_initializer(), first)  # one by one takes a while
        expected = session.run(inference.predictions, {inference.images: images})
        return graph_passes.freeze_session(session, registry.CIFAR10_CLASSES), expected

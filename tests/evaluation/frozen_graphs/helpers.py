"""Small graphs as others make them."""

import tensorflow.compat.v1 as tf


def build(function):
    """Return the GraphDef of the nodes that `function` creates."""
    with tf.Graph().as_default() as graph:
        function()
    return graph.as_graph_def()


def images(name='x', dtype=tf.float32, shape=(None, 4, 4, 3)):
    return tf.placeholder(dtype, shape, name=name)

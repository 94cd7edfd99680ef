"""Training graphs on random images."""

import tensorflow.compat.v1 as tf

from permafrost.config import Config
from permafrost.recipes import overrides
from permafrost.training.graph import build_train_graph


def train_graph(recipe, changes=(), model='lenet5', average_statistics=False, **options):
    """Return the TrainGraph of `model` for a batch of 8 random images; four batches an epoch."""
    recipe = overrides.get_recipe(recipe, ['batch_size=8', *changes])
    images = tf.random.stateless_normal([8, recipe.image_size, recipe.image_size, 3], [1, 2])
    config = Config(model, recipe, 100, train_images=32, average_statistics=average_statistics)
    return build_train_graph(config, 10, images, tf.range(8, dtype=tf.int64), **options)

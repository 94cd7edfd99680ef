"""TensorFlow graphs that benchmarks run, each in a session of its own."""

import contextlib
from typing import Any, Callable, Iterator, List, Tuple

import numpy as np

from benchmarks.runtimes import server
from permafrost.config import Config
from permafrost.recipes.recipe import Recipe


def local_variable(array: np.ndarray) -> Any:
    """Return a local variable that holds `array`. (A constant could be folded into its consumers.)
    """
    import tensorflow.compat.v1 as tf
    return tf.Variable(array, trainable=False, use_resource=True,
                       collections=[tf.GraphKeys.LOCAL_VARIABLES])


@contextlib.contextmanager
def open_session(build: Callable[[], Any], session_config: Any) -> Iterator[Tuple[Any, Any]]:
    """Yield a session, and what `build()` returns in its graph."""
    import tensorflow.compat.v1 as tf
    with tf.Graph().as_default():
        tf.train.get_or_create_global_step()
        fetches = build()
        with tf.train.MonitoredSession(
                tf.train.ChiefSessionCreator(config=session_config)) as session:
            yield session, fetches


@contextlib.contextmanager
def runner(build: Callable[[], Any], session_config: Any) -> Iterator[Callable[[], Any]]:
    """Yield a function that runs what `build()` returns, in a graph and a session of its own."""
    with open_session(build, session_config) as (session, fetches):
        yield lambda: session.run(fetches)


def matrix_product() -> Any:
    """Return the operation that multiplies the two matrices of server.matrices."""
    import tensorflow.compat.v1 as tf
    return tf.matmul(*map(local_variable, server.matrices())).op


def numpy_product() -> Callable[[], np.ndarray]:
    """Return a function that multiplies the two matrices of server.matrices with NumPy."""
    left, right = server.matrices()
    return lambda: np.matmul(left, right)


def trained_shapes(model: str, recipe: Recipe) -> List[Any]:
    """Return the shapes of the trained variables of `model`, all float32, in its training graph."""
    import tensorflow.compat.v1 as tf
    from permafrost.training.graph import build_train_graph
    size = recipe.image_size
    with tf.Graph().as_default():
        build_train_graph(Config(model, recipe, 1), 10, tf.zeros([2, size, size, 3]),
                          tf.zeros([2], tf.int64))
        return [variable.shape for variable in tf.trainable_variables()]

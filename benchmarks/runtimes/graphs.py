"""TensorFlow graphs that benchmarks run, each in a session of its own."""

import contextlib
from typing import Any, Callable, Iterator, Tuple

import numpy as np


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

"""What benchmarks of the engine at hand build: a graph and a session of its own for each thing."""

import contextlib

import numpy as np

from benchmarks.peers import serve


def local(array):
    """A local variable; a constant could be folded into what it feeds."""
    import tensorflow.compat.v1 as tf
    return tf.Variable(array, trainable=False, use_resource=True,
                       collections=[tf.GraphKeys.LOCAL_VARIABLES])


@contextlib.contextmanager
def opened(build, session_config):
    """(session, what `build()` makes in its graph)."""
    import tensorflow.compat.v1 as tf
    with tf.Graph().as_default():
        tf.train.get_or_create_global_step()
        built = build()
        with tf.train.MonitoredSession(
                tf.train.ChiefSessionCreator(config=session_config)) as session:
            yield session, built


@contextlib.contextmanager
def runner(build, session_config):
    """A function that runs what `build()` makes, in a graph and a session of its own."""
    with opened(build, session_config) as (session, fetches):
        yield lambda: session.run(fetches)


def product():
    """The operation that multiplies the two matrices."""
    import tensorflow.compat.v1 as tf
    return tf.matmul(*(local(array) for array in serve.matrices())).op


def numpy_product():
    """A function that multiplies the two matrices with NumPy."""
    left, right = serve.matrices()
    return lambda: np.matmul(left, right)

"""Graphs that benchmarks run."""

import numpy as np
import tensorflow.compat.v1 as tf

from benchmarks.runtimes import graphs


def test_a_session_has_its_own_graph():
    def build():
        return tf.train.get_global_step(), graphs.local_variable(np.ones(3, np.float32))

    with graphs.open_session(build, None) as (session, fetches):
        step, ones = session.run(fetches)
    assert step == 0 and list(ones) == [1, 1, 1]

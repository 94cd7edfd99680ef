"""Graphs that benchmarks run."""

import numpy as np
import tensorflow.compat.v1 as tf

from benchmarks import graphs
from benchmarks.runtimes import server
from permafrost.recipes import overrides


def test_both_products_are_of_the_same_matrices(monkeypatch):
    monkeypatch.setattr(server, 'SIDE', 8)
    with graphs.runner(lambda: graphs.matrix_product().outputs[0], None) as product:
        np.testing.assert_allclose(product(), graphs.numpy_product()(), rtol=1e-4)


def test_a_session_has_its_own_graph():
    def build():
        return tf.train.get_global_step(), graphs.local_variable(np.ones(3, np.float32))

    with graphs.open_session(build, None) as (session, fetches):
        step, ones = session.run(fetches)
    assert step == 0 and list(ones) == [1, 1, 1]


def test_trained_shapes_are_those_of_the_model():
    shapes = graphs.trained_shapes('lenet5', overrides.get_recipe('plain'))
    assert [shape.as_list() for shape in shapes] == [
        [5, 5, 3, 6], [6], [5, 5, 6, 16], [16], [400, 120], [120], [120, 84], [84], [84, 10], [10]]

"""Random seeds: the same key gives the same stream, any other key another one."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from models.layers import random_seeds
from tests.models.helpers import evaluate

pytestmark = pytest.mark.usefixtures('default_graph')


def test_seeds_depend_on_seed_name_and_step():
    key, same, *others = evaluate(*(random_seeds.seeds(*args) for args in (
        (1, 'conv1'), (1, 'conv1', tf.constant(0)), (2, 'conv1'), (1, 'conv2'), (1, 'conv1', 1))))
    assert key.dtype == np.int64 and key.shape == (2,)
    np.testing.assert_array_equal(key, same)
    assert all((key != other).any() for other in others)

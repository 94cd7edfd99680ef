"""Values for placeholders become constants of the graph."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.feeding.feed import feed_constants
from permafrost.evaluation.frozen_graphs.nodes import Nodes, find_nodes
from tests.evaluation.frozen_graphs.helpers import build, images


def test_other_placeholders_are_named_unless_they_have_defaults():
    def network():
        scale = tf.placeholder(tf.float32, [], name='scale')
        factor = tf.placeholder_with_default(1., [], name='factor')
        tf.reduce_mean(images() * scale * factor, [1, 2], name='y')
    found = find_nodes(build(network), 'a.pb')
    assert (found.input, found.output) == ('x', 'y')
    assert found.missing_flags == ('--feed scale=VALUE',) and found.defaults == ('factor',)
    fed = feed_constants(build(network), 'a.pb', ['scale=0.5', 'factor:0=2'])
    assert find_nodes(fed, 'a.pb') == Nodes('x', 'y')
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(fed, name='')
        np.testing.assert_array_equal(session.run('y:0', {'x:0': np.full((1, 4, 4, 3), 3.)}), 3)


@pytest.mark.parametrize('feed, message', [
    ('keep_prob', 'NAME=VALUE'), ('x=1', 'one number or bool'), ('keep=1', 'no placeholder'),
    ('keep_prob=much', 'must be a number'), ('training=2', 'true or false'),
    ('steps=1.5', 'an integer')])
def test_values_that_do_not_fit_a_placeholder_are_refused(feed, message):
    def network():
        images()
        for name, dtype in (('keep_prob', tf.float32), ('training', tf.bool), ('steps', tf.int32)):
            tf.placeholder(dtype, [], name=name)
    with pytest.raises(UserError, match=message):
        feed_constants(build(network), 'a.pb', [feed])

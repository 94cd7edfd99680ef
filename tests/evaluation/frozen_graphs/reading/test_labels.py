"""Class names of graphs."""

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.labels import class_names
from tests.evaluation.frozen_graphs.helpers import build


def test_class_names_come_from_the_graph_or_a_file(tmp_path):
    graph = build(lambda: tf.constant(['a', 'ö'], name='labels'))
    assert class_names(graph) == ['a', 'ö']
    (tmp_path / 'labels.txt').write_bytes('\ufeffä\r\n\nb\n'.encode())
    assert class_names(graph, str(tmp_path / 'labels.txt')) == ['ä', 'b']
    assert class_names(tf.GraphDef()) == []
    with pytest.raises(UserError, match='cannot read --labels .*none.txt .No such file.*: '
                                        'name a text file with a class on each line$'):
        class_names(graph, str(tmp_path / 'none.txt'))

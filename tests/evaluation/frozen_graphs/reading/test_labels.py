"""Class names: in a graph, and in the file of --labels."""

import pytest
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.reading import labels
from tests.evaluation.frozen_graphs.helpers import build


def test_a_graph_has_class_names_in_a_constant():
    assert labels.in_graph(build(lambda: tf.constant(['a', 'ö'], name='labels'))) == ['a', 'ö']
    assert labels.in_graph(tf.GraphDef()) == []


@pytest.mark.parametrize('content, names', [
    ('\ufeffä\r\n\nb\n'.encode(), ['ä', 'b']), (b' a b \rc', ['a b', 'c']),
    (b'\xff\n', ['\udcff']), (b'a' * labels.MAX_BYTES, ['a' * labels.MAX_BYTES])])
def test_a_file_has_a_class_name_on_each_line(content, names, tmp_path):
    (tmp_path / 'labels.txt').write_bytes(content)
    assert labels.in_file(str(tmp_path / 'labels.txt')) == names


@pytest.mark.parametrize('content, message', [
    (None, r'cannot read --labels PATH \(No such file or directory\)'),
    (b'', 'PATH has no class names'), (b'\xef\xbb\xbf\r\n \n', 'PATH has no class names'),
    (b'a\n' * (labels.MAX_BYTES // 2) + b'a', 'PATH is larger than 1 MiB')])
def test_a_file_without_class_names_is_refused(content, message, tmp_path):
    path = tmp_path / 'labels.txt'
    if content is not None:
        path.write_bytes(content)
    message = message.replace('PATH', str(path))
    with pytest.raises(UserError, match=f'^{message}: name a text file with a class on each line$'):
        labels.in_file(str(path))

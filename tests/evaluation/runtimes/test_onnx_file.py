"""The operations that compute the outputs of an ONNX file."""

import os

import pytest

from permafrost.evaluation.runtimes import onnx_file
from tests.label_image.program import FOLDER


def test_the_operation_of_an_output_is_found():
    path = os.path.join(FOLDER, 'fuzz', 'corpus', 'colours.onnx')
    assert onnx_file.source_ops(path, ['predictions', 'none']) == {'predictions': 'Mul', 'none': ''}


def _field(number, content):
    return bytes([8 * number + 2, len(content)]) + content


def _node(op, source, target):
    return _field(1, _field(1, source) + _field(2, target) + _field(4, op))


@pytest.mark.parametrize('nodes, op', [
    ([(b'Gemm', b'x', b'y')], 'MatMul'), ([(b'Relu', b'x', b'y')], 'Relu'),
    ([(b'Softmax', b'x', b'a'), (b'Cast', b'a', b'b'), (b'Reshape', b'b', b'y')], 'Softmax'),
    ([(b'Cast', b'x', b'y')], ''), ([(b'Cast', b'y', b'y')], 'Cast')])
def test_operations_that_hand_on_their_input_are_skipped(nodes, op, tmp_path):
    graph = b''.join(_node(*each) for each in nodes)
    (tmp_path / 'a.onnx').write_bytes(b'\x08\x08' + _field(7, graph))
    assert onnx_file.source_ops(str(tmp_path / 'a.onnx'), ['y']) == {'y': op}

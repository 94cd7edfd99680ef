"""The operations that compute the outputs of an ONNX file, read without a library.

label_image/graph/onnx_file.cc has the same rules.
"""

from typing import Dict, Iterable, Iterator, List, Tuple

# Numbers of fields in onnx.proto.
GRAPH, NODE = 7, 1
INPUT, OUTPUT, OP_TYPE = 1, 2, 4  # of a node
# Hand their first input on, maybe in another shape or type.
PASSING_OPS = ('Identity', 'Reshape', 'Squeeze', 'Unsqueeze', 'Cast', 'Flatten', 'Transpose',
               'QuantizeLinear', 'DequantizeLinear')
TENSORFLOW_NAMES = {'Gemm': 'MatMul', 'Add': 'AddV2', 'Conv': 'Conv2D', 'Div': 'RealDiv',
                    'ReduceMean': 'Mean', 'GlobalAveragePool': 'AvgPool', 'AveragePool': 'AvgPool'}


def source_ops(path: str, outputs: Iterable[str]) -> Dict[str, str]:
    """Return {output: the operation that computes it, under TensorFlow's name, or ''}."""
    with open(path, 'rb') as stream:
        model = memoryview(stream.read())
    nodes: Dict[str, memoryview] = {}  # by output
    for graph in _all(model, GRAPH):
        for node in _all(graph, NODE):
            for name in _texts(node, OUTPUT):
                nodes.setdefault(name, node)
    return {name: _source_op(nodes, name) for name in outputs}


def _source_op(nodes: Dict[str, memoryview], output: str) -> str:
    op = ''
    for _ in range(len(nodes) + 1):  # more steps would be a cycle
        if output not in nodes:
            return ''
        op, = _texts(nodes[output], OP_TYPE)
        inputs = _texts(nodes[output], INPUT)
        if op not in PASSING_OPS or not inputs:
            break
        output = inputs[0]
    return TENSORFLOW_NAMES.get(op, op)


def _texts(message: memoryview, number: int) -> List[str]:
    return [bytes(value).decode('utf-8', 'replace') for value in _all(message, number)]


def _all(message: memoryview, number: int) -> Iterator[memoryview]:
    """Yield the bytes of the fields of this number."""
    start = 0
    while start < len(message):
        key, start = _varint(message, start)
        kind, size = key & 7, 0
        if kind in (0, 2):
            size, start = _varint(message, start)
        if kind == 2:
            if key >> 3 == number:
                yield message[start:start + size]
            start += size
        elif kind in (1, 5):
            start += 8 if kind == 1 else 4
        elif kind != 0:
            raise ValueError('a field has an invalid type')


def _varint(message: memoryview, start: int) -> Tuple[int, int]:
    """Return the number that begins at `start`, and where it ends."""
    value = shift = 0
    while True:
        byte = message[start]
        start += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, start

"""The operations, attributes and sizes that a graph from someone else may have.

label_image/graph/allowed_ops.def lists them for Python and C++, which accept the same graphs.
"""

import os
import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

import tensorflow.compat.v1 as tf

from permafrost.cli.commands import ROOT
from permafrost.errors import UserError, printable
from permafrost.evaluation.frozen_graphs.feeding.layout import layout_of

LIST = os.path.join(ROOT, 'label_image', 'graph', 'allowed_ops.def')


class _List(NamedTuple):
    """The contents of the list."""
    ops: Dict[str, Set[int]]  # {operation: the types that it may have}
    types: Dict[str, Set[int]]
    ranges: Dict[str, Tuple[int, int]]  # of integer attributes
    limits: Dict[str, int]


def _read_list(path: str) -> _List:
    with open(path) as stream:
        text = re.sub('//.*', '', stream.read())
    result = _List({}, {}, {}, {})
    for macro, arguments in re.findall(r'^(TYPES|OPS|ATTR|LIMIT)\(([^)]*)\)', text, re.M):
        name, rest = arguments.split(',', 1)
        if macro == 'OPS':
            for op in ' '.join(re.findall('"(.*?)"', rest)).split():
                result.ops[op] = result.types[name]
            continue
        first, *others = map(int, rest.split(','))
        if macro == 'TYPES':
            result.types[name] = {first, *others}
        elif macro == 'ATTR':
            result.ranges[name] = first, others[0]
        else:
            result.limits[name] = first
    return result


ALLOWED = _read_list(LIST)


def check_graph(graph: tf.GraphDef, name: str = 'the graph') -> tf.GraphDef:
    """Return `graph` without functions and internal attributes, if the list allows all its nodes.

    `name` is that of the graph in messages. Raises UserError if the list does not.
    """
    forbidden = [f"{printable(node.op)[:50]} ('{printable(node.name)[:100]}')"
                 for node in graph.node if node.op not in ALLOWED.ops]
    if forbidden:
        raise UserError(f'{name} has operations that are not allowed in inference (--allow_any_op '
                        f"runs them anyway): {', '.join(forbidden[:4])}")
    if len(graph.node) > ALLOWED.limits['kMaxNodes']:
        raise UserError(f"{name} has {len(graph.node)} nodes, more than "
                        f"{ALLOWED.limits['kMaxNodes']} (--allow_any_op runs them anyway)")
    repeated = 0
    for node in graph.node:
        try:
            repeated += _check_node(node)
            if repeated > ALLOWED.limits['kMaxRepeated']:
                raise ValueError('expands constants to too many elements')
        except ValueError as error:
            raise UserError(f"{name}: {printable(node.op)} '{printable(node.name)[:100]}' {error} "
                            '(--allow_any_op runs it anyway)')
    clean = tf.GraphDef(versions=graph.versions, node=graph.node)
    for node in clean.node:
        for attribute in [key for key in node.attr if key.startswith('_')]:
            del node.attr[attribute]
    return clean


def for_one_image(graph: tf.GraphDef) -> tf.GraphDef:
    """Return `graph` with placeholders of one image each where the number of images is open."""
    one = tf.GraphDef()
    one.CopyFrom(graph)
    for node in one.node:
        sizes = node.attr['shape'].shape.dim if node.op == 'Placeholder' else ()
        layout = layout_of([None if each.size < 0 else each.size for each in sizes])
        if sizes and sizes[0].size < 0 and (layout is None or layout.is_batched):
            sizes[0].size = 1
    return one


def check_sizes(graph: tf.Graph, name: str = 'the graph') -> None:
    """Raise UserError if tensors or the work of an imported `graph` are too large, or are empty.

    An unknown size counts as 1, so feed one image, or as many as the graph takes at once. C++:
    backends/tensorflow/size_limits.cc.
    """
    total = work = 0
    for operation in graph.get_operations():
        if _empty_inputs(operation):
            raise _refusal(name, operation, 'reads a tensor without elements')
        for output in operation.outputs:
            elements = _elements(output.shape)
            if operation.type != 'Const' and elements > ALLOWED.limits['kMaxElements']:
                raise _refusal(name, operation, f'returns a tensor of {elements} elements')
            total += elements
            work += elements * _work_per_element(operation)
            if total > ALLOWED.limits['kMaxTotalElements'] or work > ALLOWED.limits['kMaxWork']:
                raise _refusal(name, operation, 'makes the graph too large for the images that it '
                                                'takes at once')


def _refusal(name: str, operation: tf.Operation, problem: str) -> UserError:
    return UserError(f"{name}: {operation.type} '{printable(operation.name)[:100]}' {problem} "
                     '(--allow_any_op runs it anyway)')


def _check_node(node: tf.NodeDef) -> int:
    """Return how many elements a constant takes in memory but not in the file.

    Raises ValueError if the node exceeds a limit.
    """
    if len(node.input) > ALLOWED.limits['kMaxInputs']:
        raise ValueError(f"has {len(node.input)} inputs, more than {ALLOWED.limits['kMaxInputs']}")
    for attribute, value in sorted(node.attr.items()):
        if attribute.startswith('_'):
            continue
        kind = value.WhichOneof('value')
        if kind == 'list':
            for field, values in value.list.ListFields():
                for each in values:
                    _check_value(node, attribute, field.name, each)
        elif kind is not None:
            _check_value(node, attribute, kind, getattr(value, kind))
    if node.op != 'Const' or node.attr['value'].WhichOneof('value') != 'tensor':
        return 0
    return _check_constant(node.attr['value'].tensor)


def _check_value(node: tf.NodeDef, attribute: str, kind: str, value: Any) -> None:
    place = f" in attribute '{printable(attribute)}'"
    if kind == 'i':
        if attribute not in ALLOWED.ranges:
            raise ValueError(f'has a number{place}, which is not known')
        smallest, largest = ALLOWED.ranges[attribute]
        if not smallest <= value <= largest:
            raise ValueError(f'has {value}{place}, which must be from {smallest} to {largest}')
    elif kind == 'type':
        types = ALLOWED.ops[node.op]
        if attribute == 'Tpaddings':
            types = ALLOWED.types['PADDINGS']
        elif attribute != 'T':
            types = types | ALLOWED.types['INDEX']
        if value not in types:
            raise ValueError(f'has type {value}{place}, which is not allowed')
    elif kind == 'shape':
        sizes = [dimension.size for dimension in value.dim]
        known = [size for size in sizes if size != -1]
        if not _is_possible(sizes) or _product(known) > ALLOWED.limits['kMaxElements']:
            raise ValueError(f'has an impossible shape{place}')
    elif kind not in ('s', 'f', 'b') and (kind, node.op, attribute) != ('tensor', 'Const', 'value'):
        raise ValueError(f'has a value of an unknown kind{place}')


def _check_constant(tensor: Any) -> int:
    place = " in attribute 'value'"
    if tensor.dtype not in ALLOWED.types['ANY']:
        raise ValueError(f'has type {tensor.dtype}{place}, which is not allowed')
    sizes = [dimension.size for dimension in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank:
        raise ValueError('has no shape')
    elements = _product(sizes)
    if (not _is_possible(sizes) or min(sizes, default=0) < 0 or
            elements > ALLOWED.limits['kMaxConstant']):
        raise ValueError(f'has an impossible shape{place}')
    # Convolutions divide by the sizes of weights. Empty lists are common.
    if elements == 0 and len(sizes) != 1:
        raise ValueError('has no elements')
    content, dtype = len(tensor.tensor_content), tf.as_dtype(tensor.dtype)
    if content and dtype != tf.string and content != elements * dtype.size:
        raise ValueError(f'has {content} bytes, but its shape needs {elements * dtype.size}')
    return 0 if content else elements


def _is_index(dtype: int) -> bool:
    return dtype in ALLOWED.types['INDEX']


def _is_possible(sizes: List[int]) -> bool:
    """Return whether there may be a tensor of these sizes; -1 is an unknown one."""
    return len(sizes) <= ALLOWED.limits['kMaxRank'] and all(
        -1 <= size <= ALLOWED.limits['kMaxConstant'] for size in sizes)


def _empty_inputs(operation: tf.Operation) -> List[tf.Tensor]:
    """Return the inputs without elements, past whose end kernels may read.

    Lists of sizes and axes may be empty, and so may the statistics that training does not read.
    """
    if operation.type in ('Identity', 'Switch', 'Merge'):
        return []
    count = len(operation.inputs)
    if operation.type.startswith('FusedBatchNorm') and operation.get_attr('is_training'):
        count = 3
    return [each for each in operation.inputs[:count] if _elements(each.shape) == 0
            and not (_is_index(each.dtype.as_datatype_enum) and each.shape.ndims == 1)]


def _elements(shape: tf.TensorShape) -> int:
    return 1 if shape.ndims is None else _product(shape.as_list())


def _product(sizes: Iterable[Optional[int]]) -> int:
    """Return the product of the known `sizes`, as an integer without bounds."""
    product = 1
    for size in sizes:
        product *= 1 if size is None else size
    return product


def _work_per_element(operation: tf.Operation) -> int:
    """Return the multiply-accumulates for each element of the output, or comparisons of a pool."""
    if operation.type in ('MaxPool', 'AvgPool', 'QuantizedMaxPool'):
        window, source = _product(operation.get_attr('ksize')), operation.inputs[0].shape
        return window if source.ndims is None else min(window, _product(source.as_list()))
    if len(operation.inputs) < 2 or operation.inputs[1].shape.ndims is None:
        return 1
    weights = operation.inputs[1].shape.as_list()
    if operation.type in ('Conv2D', 'QuantizedConv2D'):
        return _product(weights[:3])
    if operation.type == 'DepthwiseConv2dNative':
        return _product(weights[:2])
    if operation.type.endswith('MatMul') or operation.type == 'BatchMatMulV2':
        return max((size or 1 for size in weights[-2:]), default=1)
    return 1

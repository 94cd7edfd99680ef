"""Channels: which channels of a graph's tensors are the same, so that they are removed together.

A convolution or matrix product makes channels, the operations after it pass them on, and a sum
makes those of its terms the same, as in DepGraph (Fang et al. 2023,
https://arxiv.org/abs/2301.12900).
"""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.training.compression import graph_operations

Ids = Any  # np.ndarray, int [channels]: the number of each channel of a tensor
# Operations on each channel by itself, which return 0 for a channel of zeros.
KEEP_ZERO = ('Identity', 'Relu', 'Relu6', 'Elu', 'Erf', 'Square', 'Sqrt', 'MaxPool', 'AvgPool',
             'Mean')
PASS_ON = (*KEEP_ZERO, 'Sigmoid', 'Rsqrt')
BINARY = ('Add', 'AddV2', 'Sub', 'Mul', 'RealDiv', 'Maximum', 'Minimum', 'BiasAdd')
NORMS = ('FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3')


class Use(NamedTuple):
    """A parameter, a variable or constant, one axis of which has channels."""
    parameter: str
    axis: int
    ids: Ids
    makes: bool = False  # the axis is that of the filters which make the channels


class Channels:
    """The channels of the tensors from which `output` of `graph` is computed.

    `value` returns the array of a parameter by name. With it, channels are known that are zero for
    every image; without it, none is. Channels of the output, of images, and of what meets an
    operation that is not in this module are fixed: they cannot be removed.
    """

    def __init__(self, graph: tf.Graph, output: str,
                 value: Optional[Callable[[str], np.ndarray]] = None):
        self.uses: List[Use] = []
        self.pads: List[Use] = []  # of the constant of paddings: ids of the result
        self.reshapes: List[Use] = []  # of the constant of the shape: ids of the result
        self._value = value
        self._parents: List[int] = []  # a forest, in which each tree is a channel
        self._fixed: Set[int] = set()
        self._read: Set[int] = set()  # not zero where a convolution or product reads them
        self._ids: Dict[str, Ids] = {}  # by operation
        self._zero: Dict[str, np.ndarray] = {}  # by operation: bool [channels]
        self._parameters: Dict[Tuple[str, int], Ids] = {}  # by parameter and axis
        end = graph.get_operation_by_name(output)
        for operation in graph_operations.in_order(end):
            self._visit(operation)
        self._fix(self._ids[end.name])

    def root(self, ids: Ids) -> Ids:
        """Return the same number for ids of the same channel."""
        return np.array([self._find(each) for each in ids], np.int64)

    def is_fixed(self, ids: Ids) -> np.ndarray:
        """Return which of `ids` cannot be removed, bool [channels]."""
        fixed = {self._find(each) for each in self._fixed}
        return np.array([each in fixed for each in self.root(ids)], bool)

    def removable(self) -> Set[int]:
        """Return the roots of the channels that are not fixed, and zero where weights read them."""
        roots = {self._find(each) for each in range(len(self._parents))}
        return roots - {self._find(each) for each in self._fixed | self._read}

    def _find(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return int(number)

    def _new(self, count: int) -> Ids:
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def _join(self, first: Ids, second: Ids) -> None:
        for one, other in zip(first, second):
            self._parents[self._find(other)] = self._find(one)

    def _fix(self, ids: Ids) -> None:
        self._fixed.update(ids)

    def _visit(self, operation: tf.Operation) -> None:
        inputs = [graph_operations.source(tensor) for tensor in operation.inputs]
        known = [name for name in inputs if name in self._ids]
        if not operation.outputs:
            return
        shape = operation.outputs[0].shape
        count = shape.as_list()[-1] if shape.ndims else None
        if not known and operation.type != 'Placeholder':
            return  # a parameter, or what is computed from parameters
        handler = _HANDLERS.get(operation.type)
        result = handler(self, operation, inputs) if handler and count else None
        if result is None:
            for name in known:
                self._fix(self._ids[name])
            ids = self._new(count or 1)
            self._fix(ids)
            result = ids, np.zeros(len(ids), bool)
        self._ids[operation.name], self._zero[operation.name] = result

    def _note(self, uses: List[Use], use: Use) -> None:
        """Append `use`. Of a parameter that another operation uses too, all channels are fixed."""
        key = use.parameter, use.axis
        if key in self._parameters:
            self._fix(self._parameters[key])
            self._fix(use.ids)
        self._parameters[key] = use.ids
        uses.append(use)

    def _is_zero(self, parameter: str, shape: Any, but_axis: int = -1,
                 among: Optional[np.ndarray] = None) -> np.ndarray:
        """Return which slices of a parameter along `but_axis` are zero, bool [size of the axis].

        `among` chooses entries of the axis before that one: those of inputs that are not zero.
        """
        if self._value is None:
            return np.zeros(shape[but_axis], bool)
        value = np.moveaxis(self._value(parameter), but_axis, -1)
        value = value if among is None else value[..., among, :]
        return ~value.reshape(-1, value.shape[-1]).any(0)

    def _pass_on(self, operation, inputs):
        if operation.type == 'Mean' and not graph_operations.is_over_positions(operation):
            return None
        keeps = operation.type in KEEP_ZERO
        zero = self._zero[inputs[0]]
        return self._ids[inputs[0]], zero if keeps else np.zeros_like(zero)

    def _convolve(self, operation, inputs):
        x, weights = inputs[:2]
        shape = operation.inputs[1].shape.as_list()
        if x not in self._ids or weights in self._ids or (
                operation.type == 'MatMul' and (operation.get_attr('transpose_a') or
                                                operation.get_attr('transpose_b'))):
            return None
        axis = len(shape) - 2
        if shape[axis] != len(self._ids[x]):  # a grouped convolution
            return None
        unread = self._is_zero(weights, shape, axis)
        self._read.update(self._ids[x][~self._zero[x] & ~unread])
        ids = self._new(shape[-1])
        self._note(self.uses, Use(weights, axis, self._ids[x]))
        self._note(self.uses, Use(weights, axis + 1, ids, makes=True))
        return ids, self._is_zero(weights, shape, -1, ~self._zero[x])

    def _depthwise(self, operation, inputs):
        x, weights = inputs[:2]
        shape = operation.inputs[1].shape.as_list()
        if x not in self._ids or weights in self._ids or shape[3] != 1:
            return None
        self._note(self.uses, Use(weights, 2, self._ids[x]))
        return self._ids[x], self._zero[x] | self._is_zero(weights, shape, 2)

    def _combine(self, operation, inputs):
        x, y = inputs
        if x in self._ids and y in self._ids:
            if operation.type == 'RealDiv' or len(self._ids[x]) != len(self._ids[y]):
                return None
            self._join(self._ids[x], self._ids[y])
            both = np.logical_or if operation.type == 'Mul' else np.logical_and
            return self._ids[x], both(self._zero[x], self._zero[y])
        position = 0 if x in self._ids else 1
        x, parameter = inputs[position], inputs[1 - position]
        shape = operation.inputs[1 - position].shape.as_list()
        count = len(self._ids[x])
        if shape not in ([], [1], [count]) or (position and operation.type == 'RealDiv'):
            return None
        zero = np.zeros(count, bool)
        if self._value is not None:
            constant = np.broadcast_to(self._value(parameter) == 0, count)
            zero = self._zero[x] | constant if operation.type == 'Mul' else (
                self._zero[x] if operation.type == 'RealDiv' else self._zero[x] & constant)
        if shape == [count]:
            self._note(self.uses, Use(parameter, 0, self._ids[x]))
        return self._ids[x], zero

    def _normalize(self, operation, inputs):
        x, *parameters = inputs
        for parameter in parameters:
            self._note(self.uses, Use(parameter, 0, self._ids[x]))
        return self._ids[x], np.zeros(len(self._ids[x]), bool)  # freezing folds it

    def _concat(self, operation, inputs):
        *xs, axis = inputs
        if any(x not in self._ids for x in xs) or graph_operations.constant(operation, -1) not in (
                -1, operation.outputs[0].shape.ndims - 1):
            return None
        return (np.concatenate([self._ids[x] for x in xs]),
                np.concatenate([self._zero[x] for x in xs]))

    def _pad(self, operation, inputs):
        paddings = graph_operations.constant(operation, 1)
        if paddings is None:
            return None
        before, after = (int(each) for each in paddings[-1])
        if not before and not after:
            return self._ids[inputs[0]], self._zero[inputs[0]]
        ids = np.concatenate([self._new(before), self._ids[inputs[0]], self._new(after)])
        zero = np.ones(len(ids), bool)
        zero[before:len(ids) - after] = self._zero[inputs[0]]
        self._note(self.pads, Use(inputs[1], 0, ids))
        return ids, zero

    def _slice(self, operation, inputs):
        # Fewer dimensions than the input: all channels stay.
        begin = graph_operations.constant(operation, 1)
        ndims = operation.inputs[0].shape.ndims
        if begin is None or len(begin) >= ndims or operation.outputs[0].shape.ndims != ndims or any(
                operation.get_attr(f'{name}_mask') for name in ('ellipsis', 'new_axis')):
            return None
        return self._ids[inputs[0]], self._zero[inputs[0]]

    def _reshape(self, operation, inputs):
        ids, zero = self._ids[inputs[0]], self._zero[inputs[0]]
        sizes = operation.inputs[0].shape.as_list()[1:]
        shape = operation.outputs[0].shape.as_list()
        if graph_operations.constant(operation, 1) is None or None in sizes:
            return None
        times = 1
        if shape[-1] != len(ids):
            if len(shape) != 2 or shape[-1] != int(np.prod(sizes)):
                return None
            times = shape[-1] // len(ids)  # positions, each with all channels
        ids = np.tile(ids, times)
        self._note(self.reshapes, Use(inputs[1], 0, ids))
        return ids, np.tile(zero, times)


_HANDLERS = {
    **dict.fromkeys(PASS_ON, Channels._pass_on), **dict.fromkeys(BINARY, Channels._combine),
    **dict.fromkeys(NORMS, Channels._normalize), **dict.fromkeys(
        ('Conv2D', 'MatMul'), Channels._convolve), 'DepthwiseConv2dNative': Channels._depthwise,
    'ConcatV2': Channels._concat, 'Pad': Channels._pad, 'StridedSlice': Channels._slice,
    'Reshape': Channels._reshape}

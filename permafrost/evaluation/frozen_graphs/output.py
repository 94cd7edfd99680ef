"""Output: the meaning of the numbers that a frozen graph returns: logits, probabilities or other.

label_image/inference/output.cc has the same rules.
"""

from typing import Optional

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.errors import UsageError, UserError, pluralize, printable
from permafrost.evaluation.frozen_graphs.nodes import Nodes, node_name

KINDS = ('logits', 'softmax', 'sigmoid', 'raw')
SUM_TOLERANCE = 1e-3  # of probabilities; float16 included

PASSING_OPS = ('Identity', 'IdentityN', 'Reshape', 'Squeeze', 'ExpandDims', 'Cast', 'StopGradient',
               'CheckNumerics', 'EnsureShape', 'Snapshot', 'PreventGradient')
LINEAR_OPS = ('MatMul', 'BatchMatMul', 'BatchMatMulV2', 'BiasAdd', 'BiasAddV1', 'Add', 'AddV2',
              'Conv2D')  # layers without an activation
ARITHMETIC_OPS = ('Sub', 'Mul', 'RealDiv', 'Div', 'AddN', 'Neg', 'Mean', 'Sum', 'AvgPool',
                  'FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3', 'ConcatV2', 'Pack',
                  'OneHot', 'Dequantize')  # may end a softmax or sigmoid written by hand


def find_source_op(definition: tf.GraphDef, output: str) -> str:
    """Return the operation whose values the node `output` hands on, '' if a node is missing."""
    by_name = {node.name: node for node in definition.node}
    node = by_name.get(output)
    for _ in by_name:  # ends even if there is a cycle
        if node is None or node.op not in PASSING_OPS:
            break
        node = by_name.get(node_name(node.input[0])) if node.input else None
    return node.op if node is not None else ''


class Output:
    """The meaning of the numbers that a graph returns."""

    def __init__(self, path: str, nodes: Nodes, source_op: str, kind: Optional[str] = None):
        """Take the `kind` that the user states, else the one that the last operation says.

        That is `source_op`, under TensorFlow's name; '': unknown. Else the kind is decided by the
        first values, where these leave no doubt. Raises UsageError.
        """
        if kind not in (None,) + KINDS:
            raise UsageError(f"--output_kind must be {', '.join(KINDS[:3])} or raw, not '{kind}'")
        self._path, self._node, self._op = path, nodes.output, source_op
        self._is_exported = nodes.is_own and not source_op
        # Softmax is the inverse of LogSoftmax.
        self.kind = kind or {'Softmax': 'softmax', 'Sigmoid': 'sigmoid',
                             'LogSoftmax': 'logits'}.get(self._op)
        if not self.kind and nodes.is_own and nodes.output == 'predictions':
            self.kind = 'logits'
        self._columns = 0

    def read(self, values: np.ndarray, count: int) -> np.ndarray:
        """Return logits float64 [count, classes] for what the graph returned for `count` images.

        Scores of the kinds raw and, of several columns, sigmoid stay as they are. One column
        becomes the logits of two classes. Raises UserError if there is no row of finite numbers for
        each image, or if these cannot be of their kind; UsageError if their kind must be stated.
        """
        values = self._rows(values, count)
        smallest = np.finfo(np.float32).tiny
        if self._columns == 1 and self.kind == 'logits':
            return np.concatenate([np.zeros_like(values), values], 1)
        if self._columns == 1 and self.kind == 'sigmoid':
            return np.log(np.clip(np.concatenate([1 - values, values], 1), smallest, 1))
        return np.log(np.clip(values, smallest, 1)) if self.kind == 'softmax' else values

    def probabilities(self, values: np.ndarray, count: int) -> np.ndarray:
        """Return probabilities float32 [count, classes], as label_image prints them.

        Scores of the kind raw stay as they are. Raises like `read`.
        """
        values = self._rows(values, count)
        if self._columns == 1 and self.kind != 'raw':
            if self.kind == 'logits':
                values = 1 / (1 + np.exp(-values))
            values = np.clip(values, 0, 1)
            values = np.concatenate([1 - values, values], 1)
        elif self.kind == 'logits':
            powers = np.exp(values - values.max(1, keepdims=True))
            values = powers / powers.sum(1, keepdims=True)
        return values.astype(np.float32)

    def _rows(self, values, count):
        """Return the numbers float64 [count, columns], checked; decide their kind."""
        sizes = [size for size in values.shape[1:] if size != 1]
        if values.ndim < 2 or len(values) != count or len(sizes) > 1 or values.dtype not in (
                np.float16, np.float32, np.float64):
            shape = ', '.join(map(str, values.shape))
            raise UserError(f"{self._path}: node '{self._node}' returns {values.dtype} [{shape}] "
                            f"for {pluralize(count, 'image')}, not a row of floats for each")
        values = values.astype(np.float32).astype(np.float64).reshape(count, -1)
        if self._columns not in (0, values.shape[1]):  # a row may depend on the batch
            raise UserError(f"{self._path}: node '{self._node}' returns rows of {self._columns} "
                            f'numbers, then of {values.shape[1]}')
        self._columns = values.shape[1]
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            what = 'NaN' if np.isnan(values[row, column]) else 'infinity'
            raise UserError(f"{self._path}: node '{self._node}' returns {what} (column {column}): "
                            'its weights or the preprocessing are wrong')
        self.kind = self.kind or self._decide(values)
        self._check(values)
        return values

    def _decide(self, values):
        fractions = _are_fractions(values)
        if self._columns > 1 and fractions and _sum_to_one(values):
            return 'softmax'
        if self._columns > 1 and (self._op in LINEAR_OPS or not fractions and (
                self._op in ARITHMETIC_OPS or self._is_exported)):
            return 'logits'
        operation = f' by {printable(self._op)[:50]}' if self._op else ''
        raise UsageError(f"{self._path} does not say what its output '{self._node}' means, "
                         f"{pluralize(self._columns, 'number')}{operation}: give "
                         '--output_kind logits, softmax, sigmoid or raw')

    def _check(self, values):
        if self.kind == 'softmax' and self._columns == 1:
            raise UserError(f"{self._path}: node '{self._node}' is a softmax of one column, which "
                            'is always 1')
        if (self.kind in ('softmax', 'sigmoid') and not _are_fractions(values)) or (
                self.kind == 'softmax' and not _sum_to_one(values, _softmax_tolerance(values))):
            which = 'that sum to 1' if self.kind == 'softmax' else 'from 0 to 1'
            raise UserError(f"{self._path}: node '{self._node}' does not return probabilities "
                            f'{which}: give another --output_kind')

    @property
    def has_probabilities(self) -> bool:
        """True if `read` returns logits, so that there is a cross entropy."""
        return self.kind in ('logits', 'softmax') or (self.kind, self._columns) == ('sigmoid', 1)

    def __str__(self) -> str:
        single = self._columns == 1
        text = {'logits': 'a sigmoid makes it the probability of the second class' if single else
                          'a softmax makes probabilities of them',
                'softmax': 'probabilities as the graph gives them',
                'sigmoid': 'the probability of the second class, as the graph gives it' if single
                           else 'a probability for each class on its own, as the graph gives them',
                'raw': 'numbers as the graph gives them'}[self.kind]
        return f'{printable(self._node)[:100]}, {self.kind}: {text}'


def _are_fractions(values):
    return bool((values > -1e-6).all() and (values < 1 + 1e-6).all())


def _sum_to_one(values, tolerance=SUM_TOLERANCE):
    return bool((np.abs(values.sum(1) - 1) <= tolerance).all())


def _softmax_tolerance(values):
    # In TensorFlow Lite, an int8 softmax returns multiples of 1/256, each rounded, of which the
    # highest is 255/256.
    quantized = (values * 256 == np.floor(values * 256)).all()
    return (values.shape[1] / 2 + 1) / 256 if quantized else SUM_TOLERANCE

"""Operations of a graph: their order, and the parameters and constants that they read."""

from typing import Dict, List, Optional

import numpy as np
import tensorflow.compat.v1 as tf


def in_order(end: tf.Operation) -> List[tf.Operation]:
    """Return the operations that compute `end`, each after its inputs."""
    order: Dict[str, tf.Operation] = {}
    pending = [(end, False)]
    while pending:
        operation, is_ready = pending.pop()
        if is_ready:
            order[operation.name] = operation
        elif operation.name not in order:
            pending.append((operation, True))
            pending += [(tensor.op, False) for tensor in operation.inputs]
    return list(order.values())


def source(tensor: tf.Tensor) -> str:
    """Return the operation that computes `tensor`: of a variable, that which holds it."""
    operation = tensor.op
    while operation.type in ('ReadVariableOp', 'Identity') and operation.inputs[0].op.type in (
            'ReadVariableOp', 'Identity', 'VarHandleOp', 'Const'):
        operation = operation.inputs[0].op
    return operation.name


def constant(operation: tf.Operation, index: int) -> Optional[np.ndarray]:
    """Return the value of input `index` if it is constant, else None."""
    return tf.get_static_value(operation.inputs[index])


def is_over_positions(operation: tf.Operation) -> bool:
    """Return whether a Mean is over positions, not over images or channels."""
    axes = constant(operation, 1)
    ndims = operation.inputs[0].shape.ndims
    return axes is not None and all(0 < int(axis) % ndims < ndims - 1 for axis in np.ravel(axes))

"""Gradients of a loss, without a backward pass to variables that are frozen by now."""

import functools
import math
from typing import Any, Callable, Dict, Iterable, List, Mapping, Sequence, Set

import tensorflow.compat.v1 as tf


def gradients(loss: tf.Tensor, variables: Sequence[tf.Variable], ends: Mapping[str, float],
              epoch: tf.Tensor) -> List[Any]:
    """Return the gradient of the scalar `loss` for each variable; None where it needs none.

    It is 0 from the epoch on that `ends` has for the name of the variable; operations that only
    frozen variables need do not run then. `epoch` is a scalar tensor.
    """
    trained = [variable for variable in variables if ends[variable.op.name] == math.inf]
    frozen = [variable for variable in variables if ends[variable.op.name] < math.inf]
    if not frozen:
        return tf.gradients(loss, trained, gate_gradients=True)
    before = _reachable([loss.op], lambda op: [x.op for x in op.inputs])
    shared = before & _ops_after(trained)
    frozen_only = before & _ops_after(frozen) - shared
    # The operations in which the paths of both kinds of variables meet. From here on the backward
    # pass to the frozen ones is in a tf.cond. With all of it in one, steps would be 15 % slower.
    boundary_ops = sorted((op for op in shared if any(x.op in frozen_only for x in op.inputs)),
                      key=lambda op: op.name)
    boundary = [y for op in boundary_ops for y in op.outputs] if shared else [loss]
    grads = tf.gradients(loss, [*trained, *boundary], gate_gradients=True)
    found: Dict[str, Any] = dict(zip([variable.op.name for variable in trained], grads))
    upstream = {y.name: grad for y, grad in zip(boundary, grads[len(trained):]) if grad is not None}
    for variable in frozen:
        found[variable.op.name] = tf.cond(
            epoch < ends[variable.op.name],
            functools.partial(_backward, variable, boundary, frozen_only, upstream),
            functools.partial(tf.zeros, variable.shape, variable.dtype.base_dtype),
            name='gradients/until_frozen')
    return [found[variable.op.name] for variable in variables]


def _backward(variable: tf.Variable, boundary: Sequence[tf.Tensor], frozen_only: Set[tf.Operation],
              upstream: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Return the gradient of `variable`, by the `upstream` gradients of `boundary`."""
    reached: List[Any] = []  # (tensor of `frozen_only`, its gradient by one operation)
    for y in boundary:
        if y.name in upstream and y.op in frozen_only:
            reached.append((y, upstream[y.name]))
        elif y.name in upstream:
            xs = [x for x in y.op.inputs if x.op in frozen_only]
            reached += zip(xs, tf.gradients(y, xs, upstream[y.name],
                                            stop_gradients=list(y.op.inputs)))
    reached = [(x, grad) for x, grad in reached if grad is not None]
    return tf.gradients([x for x, _ in reached], variable, [grad for _, grad in reached],
                        unconnected_gradients='zero')[0]


def _ops_after(variables: Iterable[tf.Variable]) -> Set[tf.Operation]:
    return _reachable([variable.handle.op for variable in variables],
                      lambda op: [user for y in op.outputs for user in y.consumers()])


def _reachable(ops: Sequence[tf.Operation],
               neighbours: Callable[[tf.Operation], Iterable[tf.Operation]]) -> Set[tf.Operation]:
    """Return `ops` and all that repeated steps to neighbours lead to."""
    found, ahead = set(ops), list(ops)
    while ahead:
        new = set(neighbours(ahead.pop())) - found
        found |= new
        ahead += new
    return found

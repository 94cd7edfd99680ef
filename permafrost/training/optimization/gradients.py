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
    before = _reachable([loss.op], lambda op: [x.op for x in op.inputs])
    shared = before & _ops_after(trained)
    own = before & _ops_after(frozen) - shared
    # The operations in which the paths of both kinds of variables meet. From here on the backward
    # pass to the frozen ones is in a tf.cond. With all of it in one, steps would be 15 % slower.
    meetings = sorted((op for op in shared if any(x.op in own for x in op.inputs)),
                      key=lambda op: op.name)
    tops = [y for op in meetings for y in op.outputs] if shared else [loss]
    slopes = tf.gradients(loss, [*trained, *tops], gate_gradients=True)
    found: Dict[str, Any] = dict(zip([variable.op.name for variable in trained], slopes))
    known = {y.name: slope for y, slope in zip(tops, slopes[len(trained):]) if slope is not None}
    for variable in frozen:
        found[variable.op.name] = tf.cond(
            epoch < ends[variable.op.name],
            functools.partial(_backward, variable, tops, own, known),
            functools.partial(tf.zeros, variable.shape, variable.dtype.base_dtype),
            name='gradients/until_frozen')
    return [found[variable.op.name] for variable in variables]


def _backward(variable: tf.Variable, tops: Sequence[tf.Tensor], own: Set[tf.Operation],
              known: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Return the gradient of `variable` from the `known` ones of `tops`, through `own`."""
    pairs: List[Any] = []  # of a tensor in `own` and its slope, from one way down to it
    for y in tops:
        if y.name in known and y.op in own:
            pairs.append((y, known[y.name]))
        elif y.name in known:
            xs = [x for x in y.op.inputs if x.op in own]
            pairs += zip(xs, tf.gradients(y, xs, known[y.name], stop_gradients=list(y.op.inputs)))
    pairs = [(x, slope) for x, slope in pairs if slope is not None]
    return tf.gradients([x for x, _ in pairs], variable, [slope for _, slope in pairs],
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

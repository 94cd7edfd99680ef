"""The network at several image sizes, of which each step runs one; they share variables."""

import math
from typing import Any, Callable, Dict, List, Tuple

import tensorflow.compat.v1 as tf

from permafrost.inputs import resizing
from permafrost.recipes.schedules import ProgressiveResizing

# Scalars by name, and (gradient, variable) for each variable.
Computed = Tuple[Dict[str, tf.Tensor], List[Any]]


def by_size(sizes: ProgressiveResizing, images: tf.Tensor, epoch: tf.Tensor, seed: int,
            step: tf.Tensor, compute: Callable[[tf.Tensor], Computed]) -> Computed:
    """Return what `compute` returns for `images` in the size that `sizes` has at `epoch`.

    All variables must exist: `compute` builds the network again, once for each size. Its updates of
    moving statistics replace those that UPDATE_OPS has so far. See resizing.smaller for `seed` and
    `step`.
    """
    update_ops = tf.get_collection_ref(tf.GraphKeys.UPDATE_OPS)
    update_ops.clear()
    trained: List[tf.Variable] = []  # those that have a gradient, and
    names: List[str] = []  # those of the scalars: the same for each size
    ends = [*sizes.epochs[1:], math.inf]

    def at_size(size: int) -> Any:
        with tf.variable_scope(tf.get_variable_scope(), reuse=True):
            scalars, gradients = compute(resizing.smaller(images, sizes.mode, size, seed, step))
        trained[:] = [variable for gradient, variable in gradients if gradient is not None]
        names[:] = scalars
        with tf.control_dependencies(update_ops):
            updated = tf.zeros([])
        update_ops.clear()
        return [gradient for gradient, _ in gradients if gradient is not None], scalars, updated

    def nothing() -> Any:
        zero = tf.zeros([])
        return [tf.zeros(each.shape) for each in trained], dict.fromkeys(names, zero), zero

    computed = []
    for start, end, size in zip(sizes.epochs, ends, sizes.sizes):
        # One tf.cond after the other: in nested ones, TensorFlow loses gradients of variables.
        is_due = tf.logical_and(epoch >= start, epoch < end)
        computed.append(tf.cond(is_due, lambda size=size: at_size(size), nothing,
                                name=f'size{size}'))
    gradients, scalars, updated = tf.nest.map_structure(lambda *each: tf.add_n(each), *computed)
    update_ops.append(updated.op)
    for gradient, variable in zip(gradients, trained):
        gradient.set_shape(variable.shape)  # TensorFlow 1.15 forgets it
    return scalars, list(zip(gradients, trained))

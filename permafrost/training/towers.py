"""Towers: the network at several image sizes, of which each step runs one; they share variables."""

from typing import Any, Callable, Dict, List, Tuple

import tensorflow.compat.v1 as tf

from permafrost.inputs import resizing
from permafrost.recipes.progressive_resizing import ProgressiveResizing

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
    trained: List[Any] = []  # the variables that have a gradient: the same for each size

    def tower(size: int) -> Any:
        with tf.variable_scope(tf.get_variable_scope(), reuse=True), tf.name_scope(f'size{size}'):
            scalars, gradients = compute(resizing.smaller(images, sizes.mode, size, seed, step))
        trained[:] = [variable for gradient, variable in gradients if gradient is not None]
        with tf.control_dependencies(update_ops):
            updated = tf.ones([], tf.bool)
        update_ops.clear()
        return scalars, [gradient for gradient, _ in gradients if gradient is not None], updated

    def from_phase(index: int) -> Any:
        if index == len(sizes.sizes) - 1:
            return tower(sizes.sizes[index])
        return tf.cond(epoch < sizes.epochs[index + 1], lambda: tower(sizes.sizes[index]),
                       lambda: from_phase(index + 1), name='size')

    scalars, gradients, updated = from_phase(0)
    update_ops.append(updated.op)
    for gradient, variable in zip(gradients, trained):
        gradient.set_shape(variable.shape)  # TensorFlow 1.15 forgets it
    return scalars, list(zip(gradients, trained))

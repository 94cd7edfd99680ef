"""Training graphs without one of the things that make their steps faster."""

import contextlib
import dataclasses
import math
from typing import Any, Callable, Dict, Iterator, Optional
from unittest import mock

import tensorflow.compat.v1 as tf

from models.layers import activations, fused_activations, net
from permafrost.recipes.recipe import Recipe
from permafrost.training.kernels import conv_gradients, sigmoid_gelu, weight_gradient


def _patch(module: Any, name: str, value: Any) -> Callable[[], Any]:
    return lambda: mock.patch.object(module, name, value)


# Context managers by the names in client.WITHOUT. The biases are a matter of the recipe.
PATCHES: Dict[str, Callable[[], Any]] = {
    'C++ gradients of weights': _patch(weight_gradient, 'is_faster', lambda weights: False),
    'C++ gradients of weights and one gradient at a time': _patch(conv_gradients, 'NAME', None),
    # The first is compiled by XLA instead, the second not at all.
    'C++ sigmoid_gelu': _patch(sigmoid_gelu, 'sigmoid_gelu', fused_activations.sigmoid_gelu),
    'compiled sigmoid_gelu': _patch(
        sigmoid_gelu, 'sigmoid_gelu',
        lambda x, dtype: activations.sigmoid_gelu(tf.cast(x, tf.float32))),
    'skipped outputs': _patch(net, 'pad_for_multiple', lambda x, size, multiple: (x, 'SAME')),
    'gradients of the first biases': contextlib.nullcontext,
}


@contextlib.contextmanager
def without(name: Optional[str], recipe: Recipe) -> Iterator[Recipe]:
    """Context in which graphs lack what `name` says (None: nothing); yields their recipe.

    No variable is frozen at a later step, which would change the speed while it is measured.
    """
    without_biases = name == 'gradients of the first biases'  # as from their freeze_epoch on
    recipe = dataclasses.replace(recipe, param_groups=tuple(
        dataclasses.replace(
            group, freeze_epoch=0. if without_biases and 'biases' in group.pattern else math.inf)
        for group in recipe.param_groups))
    with PATCHES[name]() if name else contextlib.nullcontext():
        yield recipe

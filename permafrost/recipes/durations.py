"""Durations: from epochs and images to steps, and back."""

from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

from permafrost.recipes.recipe import Recipe

if TYPE_CHECKING:
    from permafrost.config import Config

CIFAR_IMAGES = 50000  # the training images of CIFAR-10


def num_epochs(recipe: Recipe) -> float:
    """Return the length of `recipe` in epochs; --steps may stop before or go on after."""
    return recipe.epochs or recipe.train_images / CIFAR_IMAGES


def num_steps(recipe: Recipe, train_images: int = CIFAR_IMAGES) -> int:
    """Return the length of `recipe` in steps, rounded up, on a dataset of `train_images`."""
    images = round(recipe.epochs * train_images) if recipe.epochs else recipe.train_images
    return max(1, -(-images // recipe.batch_size))


def steps_per_epoch(config: 'Config') -> float:
    """Return the length of an epoch in steps, with its fraction.

    A recipe whose length is in images does the same at the same step on any dataset: its epochs
    are CIFAR-10's.
    """
    images = config.train_images if config.recipe.epochs else CIFAR_IMAGES
    return images / config.recipe.batch_size


def epoch_at(config: 'Config', global_step: Any) -> Any:
    """Return the epoch, with its fraction, in the update after `global_step`: number or tensor."""
    # Times 1 / steps_per_epoch would be just below a whole epoch at many of its first steps.
    return global_step / steps_per_epoch(config)


def first_quantized_step(config: 'Config') -> float:
    """Return the step, with its fraction, at which quantization-aware training begins."""
    recipe = config.recipe
    length = recipe.quantization_aware_epochs * steps_per_epoch(config)
    return num_steps(recipe, config.train_images) - length


def prune_steps(config: 'Config') -> Tuple[float, float]:
    """Return the steps at which pruning begins and has reached its sparsity, with fractions."""
    recipe, per_epoch = config.recipe, steps_per_epoch(config)
    start = recipe.prune_start_epoch
    length = recipe.prune_epochs or (num_epochs(recipe) - start) / 2
    return start * per_epoch, (start + length) * per_epoch


def first_compressed_step(config: 'Config') -> float:
    """Return the step, with its fraction, from which the network is as sparse as it will be, and
    quantization-aware if it will be; 0 without either."""
    recipe = config.recipe
    is_pruned = recipe.sparsity or recipe.structured_sparsity
    return max(prune_steps(config)[1] if is_pruned else 0.,
               first_quantized_step(config) if recipe.quantization_aware_epochs else 0.)


def schedule_factor_at(config: 'Config', global_step: Any, ops: Any = np) -> Any:
    """Return the factor of all learning rates in the update after `global_step`.

    A number, or a float64 tensor if `global_step` is one and `ops` is TensorFlow.
    """
    epoch = epoch_at(config, global_step)
    return config.recipe.schedule.factor_at(epoch, num_epochs(config.recipe), ops)


def learning_rate_at(config: 'Config', global_step: float) -> float:
    """Return the recipe's learning rate in the update after `global_step`."""
    return float(config.recipe.learning_rate * schedule_factor_at(config, global_step))


def crossed_multiple_of(interval: int, before: int, step: int) -> bool:
    """Return whether a multiple of `interval` is in (before, step]; never for an interval of 0.

    In a cluster the steps in between may belong to other workers.
    """
    return interval > 0 and step // interval > before // interval

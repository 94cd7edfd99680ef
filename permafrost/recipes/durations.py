"""Durations."""

from permafrost.recipes import schedules
CIFAR_IMAGES = 50000  # that CIFAR-10 has to train on


def _num_epochs(value):
    """How many epochs the recipe `value` takes."""
    return value.epochs or value.images / CIFAR_IMAGES


def num_steps(value, train_images=CIFAR_IMAGES):
    """The number of steps that the recipe `value` takes, rounded up."""
    images = round(value.epochs * train_images) if value.epochs else value.images
    return max(1, -(-images // value.batch_size))


def num_epochs(config):
    """How many epochs the recipe of `config` takes; --steps may stop before or go on after."""
    return _num_epochs(config.recipe)


def steps_per_epoch(config):
    """How many steps are an epoch of the recipe of `config`, with their fraction.

    A recipe whose length is in images, not in epochs, takes as many steps and does the same at
    each whatever the data: its epochs are CIFAR-10's.
    """
    images = config.train_images if config.recipe.epochs else CIFAR_IMAGES
    return images / config.recipe.batch_size


def epoch_at(config, global_step):
    """The epoch, with its fraction, before the update of `global_step`, a number or tensor."""
    return global_step * (1 / steps_per_epoch(config))


def learning_rate_at(config, global_step, ops=schedules.NUMPY):
    """The learning rate of the update after `global_step`.

    That is a Python number or, with the `ops` of tensors, a float64 tensor.
    """
    factor = schedules.schedule(config.recipe.schedule, num_epochs(config))
    return config.recipe.learning_rate * factor(ops, epoch_at(config, global_step))

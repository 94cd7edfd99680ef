"""The chart of a recipe's learning rate, epoch by epoch."""

import re
from typing import Any, Sequence

import numpy as np

from permafrost import files
from permafrost.errors import UsageError, printable
from permafrost.experiments import line_chart
from permafrost.recipes import durations, overrides

POINTS = 2000
UNUSED = ('steps', 'run', 'resume')  # flags of a training
MAX_TITLE = 100  # characters that fit


def plot(values: Any) -> None:
    """Plot the recipe that the flags `values` of train.py choose, to --output.

    The title says what --set has changed, and so does the default name of the file. Raises
    UserError.
    """
    for name in UNUSED:
        if getattr(values, name):
            raise UsageError(f'--{name} has no effect with --plot, which plots a whole recipe: '
                             f"{'use --recipe=RUN' if name == 'run' else 'leave it out'}")
    recipe = overrides.recipe_from_flags(values)
    changes = overrides.differences(recipe, overrides.base_from_flags(values))
    path = values.output or files.safe_name('-'.join(
        [recipe.name, *(re.sub(r'[^\w.=]+', '_', change)[:60] for change in changes)]
    )) + '-learning-rate.png'
    line_chart.check_output(path)
    num_epochs = durations.num_epochs(recipe)
    epochs = np.linspace(0, num_epochs, POINTS)
    rates = [recipe.learning_rate * recipe.schedule.factor_at(epoch, num_epochs)
             for epoch in epochs]
    title = '\n'.join([f'{recipe.name}: {recipe.optimizer}, batch size {recipe.batch_size}',
                       ', '.join(changes)[:MAX_TITLE]]).rstrip()
    files.write_atomically(path, draw(epochs, rates, title, path))
    print(f'{printable(path)}: learning rate {min(rates):.3g} to {max(rates):.3g} over '
          f'{epochs[-1]:g} epochs'
          + ('' if recipe.epochs else f' of {durations.CIFAR_IMAGES} images'))


def draw(epochs: Sequence[float], rates: Sequence[float], title: str, path: str) -> bytes:
    """Return the chart of `rates` over `epochs` in the format of `path`."""
    axes = line_chart.axes(title, 'epoch', 'learning rate')
    axes.plot(epochs, rates, color='#1f5fb4', linewidth=2)
    axes.set_ylim(bottom=0)
    return line_chart.content(axes, path)

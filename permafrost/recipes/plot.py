"""Plot the learning rate of a recipe, epoch by epoch, to a PNG file."""

import io
import os
import re
from typing import Any, Sequence

import numpy as np
from PIL import Image, ImageDraw

from permafrost import files
from permafrost.errors import UsageError, printable, shown
from permafrost.recipes import durations, overrides

WIDTH, HEIGHT = 720, 400  # pixels
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 45  # margins around the curve
POINTS = 2000
UNUSED = ('steps', 'run', 'resume')  # flags of a training
MAX_TITLE = 100  # characters that fit
INK, PALE, CURVE = (0, 0, 0), (220, 220, 220), (20, 90, 180)


def learning_rate(values: Any) -> None:
    """Plot the recipe that the flags `values` of train.py choose, to --output.

    The title says what --set has changed, and so does the default name of the file. Raises
    UserError.
    """
    for name in UNUSED:
        if getattr(values, name):
            raise UsageError(f'--{name} has no effect with --plot, which plots a whole recipe: '
                             f"{'use --recipe=RUN' if name == 'run' else 'leave it out'}")
    if values.output and os.path.splitext(values.output)[1] != '.png':
        raise UsageError(f'--output must end in .png, not {shown(values.output)}')
    recipe = overrides.recipe_from_flags(values)
    changes = overrides.differences(recipe, overrides.base_from_flags(values))
    path = values.output or files.safe_name('-'.join(
        [recipe.name, *(re.sub(r'[^\w.=]+', '_', change)[:60] for change in changes)]
    )) + '-learning-rate.png'
    num_epochs = durations.num_epochs(recipe)
    epochs = np.linspace(0, num_epochs, POINTS)
    rates = [recipe.learning_rate * recipe.schedule.factor_at(epoch, num_epochs)
             for epoch in epochs]
    title = '\n'.join([f'{recipe.name}: {recipe.optimizer}, batch size {recipe.batch_size}',
                       ', '.join(changes)[:MAX_TITLE]])
    files.write_atomically(path, png(epochs, rates, title))
    print(f'{printable(path)}: learning rate {min(rates):.3g} to {max(rates):.3g} over '
          f'{epochs[-1]:g} epochs'
          + ('' if recipe.epochs else f' of {durations.CIFAR_IMAGES} images'))


def png(epochs: Sequence[float], rates: Sequence[float], title: str) -> bytes:
    """Return a PNG file that shows `rates` over `epochs`, which begin at 0."""
    image = Image.new('RGB', (WIDTH, HEIGHT), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    max_epoch, max_rate = epochs[-1], max(rates) or 1.

    def pixel(epoch, rate):
        return (LEFT + epoch / max_epoch * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - rate / max_rate * (HEIGHT - TOP - BOTTOM))

    for epoch, rate in zip(np.linspace(0, max_epoch, 6), np.linspace(0, max_rate, 6)):
        draw.line([pixel(epoch, 0), pixel(epoch, max_rate)], PALE)
        draw.text(pixel(epoch, 0), f'\n{epoch:.3g}', INK)
        draw.line([pixel(0, rate), pixel(max_epoch, rate)], PALE)
        draw.text((10, pixel(0, rate)[1] - 6), f'{rate:.3g}', INK)
    draw.line([pixel(0, max_rate), pixel(0, 0), pixel(max_epoch, 0)], INK)
    draw.line([pixel(*point) for point in zip(epochs, rates)], CURVE, 2)
    # Pillow's font without FreeType has only these characters.
    title = title.encode('latin-1', 'replace').decode('latin-1')
    draw.text((LEFT, 8), f'learning rate of {title}', INK)
    draw.text((WIDTH // 2, HEIGHT - 18), 'epoch', INK)
    stream = io.BytesIO()
    image.save(stream, 'PNG')
    return stream.getvalue()

"""Draws the learning rate of a recipe, epoch by epoch, to a PNG file."""

import io

import numpy as np
from PIL import Image, ImageDraw

import models
from permafrost import files
from permafrost.config import Config
from permafrost.errors import UserError, unknown_name_error
from permafrost.recipes import catalog, durations, overrides

WIDTH, HEIGHT = 720, 400  # pixels
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 45  # what is kept free around the curve
POINTS = 2000
INK, PALE, CURVE = (0, 0, 0), (220, 220, 220), (20, 90, 180)


def learning_rate(values):
    """What train.py --plot does: draws the recipe that the flags `values` ask for.

    Raises UsageError for an unknown model or recipe, UserError where the file cannot be written.
    """
    if values.model not in models.MODELS:
        raise unknown_name_error('model', values.model, models.MODELS)
    recipe = overrides.get_recipe(values.recipe or catalog.default_recipe(values.model), values.set)
    config = Config(values.model, recipe, durations.num_steps(recipe))
    path = recipe.name + '-learning-rate.png'
    epochs = np.linspace(0, durations.num_epochs(config), POINTS)
    rates = [float(durations.learning_rate_at(config, epoch * durations.steps_per_epoch(config)))
             for epoch in epochs]
    title = '%s: %s, batches of %d' % (recipe.name, recipe.optimizer, recipe.batch_size)
    try:
        files.write_atomically(path, png(epochs, rates, title))
    except OSError as error:
        raise UserError('cannot write %s (%s): go to another directory' % (path, error.strerror))
    print('%s: learning rate %.3g to %.3g over %g epochs of %d images' % (
        path, min(rates), max(rates), epochs[-1], config.train_images))


def png(epochs, rates, title):
    """The bytes of a PNG file with `rates` over `epochs`, sequences of numbers that begin at 0."""
    image = Image.new('RGB', (WIDTH, HEIGHT), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    right, low = epochs[-1], max(rates) or 1.

    def place(epoch, rate):
        return (LEFT + epoch / right * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - rate / low * (HEIGHT - TOP - BOTTOM))

    for epoch in ticks(right):
        x, y = place(epoch, 0)
        draw.line([place(epoch, low), (x, y + 4)], PALE)
        draw.text((x - 3 * len('%g' % epoch), y + 8), '%g' % epoch, INK)
    for rate in ticks(low):
        x, y = place(0, rate)
        draw.line([(x - 4, y), place(right, rate)], PALE)
        draw.text((x - 10 - 6 * len('%g' % rate), y - 6), '%g' % rate, INK)
    draw.line([place(0, low), place(0, 0), place(right, 0)], INK)
    draw.line([place(*point) for point in zip(epochs, rates)], CURVE, 2)
    draw.text((LEFT, 14), 'learning rate of ' + title, INK)
    draw.text((WIDTH // 2 - 12, HEIGHT - 18), 'epoch', INK)
    stream = io.BytesIO()
    image.save(stream, 'PNG')
    return stream.getvalue()


def ticks(most):
    """Four to ten round numbers from 0 to `most`."""
    step = 10. ** np.floor(np.log10(most))
    while most / step < 4:
        step /= 2
    return np.arange(int(most / step + 1e-9) + 1) * step

"""Pictures of an evaluation for TensorBoard: the confusion matrix and the worst mistakes."""

import io
from typing import Any, Dict, List, Sequence

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image, ImageDraw

from permafrost.errors import printable

MAX_CLASSES = 200  # with more, a cell of the confusion matrix is smaller than two pixels
MAX_NAMED = 20  # classes whose names and counts fit
SIDE = 96  # pixels of a mistake
COLUMNS = 6
LETTERS = 16  # of a class's name, that fit above an image
WIDTH, HEIGHT = 6, 12  # pixels of a letter
INK, PAPER, BLUE = (0, 0, 0), (255, 255, 255), np.array([20, 90, 180])


def evaluation_pictures(confusion: Sequence[Sequence[int]], classes: Sequence[str],
                        images: np.ndarray, mistakes: List[Dict[str, Any]], suffix: str = ''
                        ) -> tf.Summary:
    """Return the summary of an evaluation's pictures; `images` are uint8 [N, H, W, 3].

    `confusion` [true class][predicted] counts images; `mistakes` are those of mistakes.json.
    """
    summary = tf.Summary()
    if len(classes) <= MAX_CLASSES:
        _add(summary, 'confusion_matrix' + suffix, confusion_matrix(np.array(confusion), classes))
    if mistakes:
        _add(summary, 'worst_mistakes' + suffix, mistakes_grid(images, mistakes, classes))
    return summary


def confusion_matrix(confusion: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """Draw the shares of each true class, a row, that are predicted as each class, a column."""
    count = len(classes)
    is_named = count <= MAX_NAMED
    cell = 40 if is_named else max(2, 600 // count)
    names = [_short(name) for name in classes]
    left = 20 + WIDTH * max(map(len, names)) if is_named else 20
    top = 3 * HEIGHT + 4
    image = Image.new('RGB', (left + max(cell * count, 330) + 10, top + cell * count + 10), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((10, 4), 'rows: true class; columns: predicted class, in the same order', INK)
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    for row in range(count):
        if is_named:
            draw.text((10, top + cell * row + cell // 2 - 6), names[row], INK)
            draw.text((left + cell * row + 3, top - HEIGHT - 4), names[row][:cell // WIDTH], INK)
        for column in range(count):
            x, y, share = left + cell * column, top + cell * row, shares[row, column]
            color = tuple(int(each) for each in 255 - (255 - BLUE) * share ** 0.5)
            draw.rectangle([x, y, x + cell - 2, y + cell - 2], color)
            if is_named:
                text = str(confusion[row, column])
                draw.text((x + (cell - WIDTH * len(text)) // 2, y + cell // 2 - 6), text,
                          PAPER if share > 0.4 else INK)
    return image


def mistakes_grid(images: np.ndarray, mistakes: List[Dict[str, Any]], classes: Sequence[str]
                  ) -> Image.Image:
    """Draw the images of `mistakes`, each below its class and what it was predicted as."""
    rows = -(-len(mistakes) // COLUMNS)
    width, height = max(SIDE, WIDTH * (LETTERS + 16)) + 10, SIDE + 3 * HEIGHT
    picture = Image.new('RGB', (width * min(COLUMNS, len(mistakes)) + 10, height * rows + 10),
                        PAPER)
    draw = ImageDraw.Draw(picture)
    for number, mistake in enumerate(mistakes):
        x, y = 10 + width * (number % COLUMNS), 6 + height * (number // COLUMNS)
        draw.text((x, y), f"true: {_short(classes[mistake['label']])}", INK)
        draw.text((x, y + HEIGHT), f"predicted: {_short(classes[mistake['predicted']])} "
                  f"{mistake['probability']:.2f}", INK)
        image = Image.fromarray(images[mistake['index']])
        picture.paste(image.resize((SIDE, SIDE), Image.BICUBIC), (x, y + 2 * HEIGHT + 3))
    return picture


def _short(name: str) -> str:
    """Return a class's name as Pillow's own font has it: short, Latin-1."""
    return printable(name).encode('latin-1', 'replace').decode('latin-1')[:LETTERS]


def _add(summary: tf.Summary, tag: str, image: Image.Image) -> None:
    stream = io.BytesIO()
    image.save(stream, 'PNG')
    summary.value.add(tag=tag, image=tf.Summary.Image(
        width=image.width, height=image.height, colorspace=3,
        encoded_image_string=stream.getvalue()))

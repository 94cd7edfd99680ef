"""Progressive resizing: training begins with smaller images, which take less time.

Written as 'crop 0:28 6:32': how images are made smaller, then epoch:pixels.
"""

import dataclasses
from typing import Any, Tuple

from permafrost.errors import UsageError, shown
from permafrost.recipes import number_text

MODES = ('crop', 'resize')


@dataclasses.dataclass(frozen=True)
class ProgressiveResizing:
    """The side in pixels of the training images from each epoch on; without sizes, none changes."""
    mode: str = 'crop'  # a random part of each image, or 'resize': the whole of it
    epochs: Tuple[float, ...] = ()  # rising, from 0
    sizes: Tuple[int, ...] = ()

    def rescaled(self, ratio: float) -> 'ProgressiveResizing':
        """Return the same sizes, `ratio` times as late."""
        epochs = tuple(float(f'{epoch * ratio:g}') for epoch in self.epochs)
        return dataclasses.replace(self, epochs=epochs)

    def check(self, image_size: int, num_epochs: float) -> None:
        """Raise UsageError if a recipe of this size and length cannot have these sizes."""
        if self.sizes and (self.sizes[-1] != image_size or max(self.sizes) > image_size):
            raise UsageError(
                f'progressive_resizing {shown(str(self))} must end at image_size={image_size} and '
                'never exceed it')
        if self.epochs and self.epochs[-1] >= num_epochs:
            raise UsageError(
                f'progressive_resizing {shown(str(self))} reaches the full size at epoch '
                f'{self.epochs[-1]:g}, and the training ends at epoch {num_epochs:g}')

    def __str__(self) -> str:
        points = [f'{number_text.to_text(epoch)}:{size}'
                  for epoch, size in zip(self.epochs, self.sizes)]
        return ' '.join([self.mode, *points]) if points else 'none'


def from_text(text: str) -> ProgressiveResizing:
    """Return the value that `text` writes. Raises UsageError."""
    if text in ('', 'none'):
        return ProgressiveResizing()
    mode, *points = text.split()
    try:
        if mode not in MODES:
            raise ValueError(f'it must begin with {" or ".join(MODES)}')
        pairs: Any = [point.split(':') for point in points]
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise ValueError('epoch:pixels must follow, once or more')
        epochs = tuple(number_text.parse(epoch) for epoch, _ in pairs)
        sizes = tuple(int(size) for _, size in pairs)
        if epochs[0] != 0 or any(a >= b for a, b in zip(epochs, epochs[1:])):
            raise ValueError('the epochs must rise from 0')
        if min(sizes) < 1:
            raise ValueError('a size is at least 1 pixel')
    except ValueError as error:
        raise UsageError(f'wrong progressive_resizing {shown(text)} ({error}). Write it as '
                         "'crop 0:28 6:32' or 'resize 0:24 4:32'") from error
    return ProgressiveResizing(mode, epochs, sizes)

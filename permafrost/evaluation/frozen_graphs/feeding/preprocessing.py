"""Preprocessing: how pixels become the floats that a frozen graph is fed.

label_image/feeding/preprocessing.cc has the same flags and rules.
"""

from typing import Optional

import numpy as np

from permafrost.errors import UsageError


class Preprocessing:
    """How pixels become the floats that a graph is fed."""

    def __init__(self, standardize: Optional[str] = None, input_mean: Optional[str] = None,
                 input_std: Optional[str] = None):
        """Read the flags of these names. Raises UsageError."""
        if standardize not in (None, 'per_image', 'none'):
            raise UsageError(f"--standardize must be per_image or none, not '{standardize}'")
        self._standardize, self._mean, self._std = standardize, None, None
        if input_mean is None and input_std is None:
            return
        if standardize:
            raise UsageError('give either --standardize, or --input_mean and --input_std')
        self._mean = _numbers('input_mean', input_mean or '0', -1e30)
        self._std = _numbers('input_std', input_std or '1', 1e-30)

    @property
    def is_stated(self) -> bool:
        """True if any flag says something."""
        return self._standardize is not None or self._mean is not None

    def require_one_channel(self) -> None:
        """Raise UsageError if three channels have different numbers."""
        if any(numbers is not None and len(numbers) > 1 for numbers in (self._mean, self._std)):
            raise UsageError('--input_mean and --input_std must be one number for grey images')

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Return uint8 [N, H, W, channels] as float32."""
        if self._mean is not None:
            return ((images - self._mean) / self._std).astype(np.float32)
        if self._standardize != 'per_image':
            return images.astype(np.float32)
        mean = images.mean((1, 2, 3), dtype=np.float64, keepdims=True)
        deviation = images.std((1, 2, 3), dtype=np.float64, keepdims=True)
        # As tf.image.per_image_standardization, for images of a single colour.
        deviation = np.maximum(deviation, images[0].size ** -0.5)
        return ((images - mean) / deviation).astype(np.float32)

    def __str__(self) -> str:
        if self._standardize == 'per_image':
            return 'standardized per image'
        if self._mean is None:
            return 'pixels 0 to 255'
        return f'(x - {_numbers_text(self._mean)}) / {_numbers_text(self._std)}'


def _numbers(flag, text, least):
    try:
        numbers = np.array([float(part) for part in text.split(',')])
        if len(numbers) in (1, 3) and np.isfinite(numbers).all() and numbers.min() >= least:
            return numbers if len(set(numbers)) > 1 else numbers[:1]
    except ValueError:
        pass
    raise UsageError(f"--{flag} must be a number{' above 0' if least > 0 else ''}, or three with "
                     f"commas, not '{text}'")


def _numbers_text(numbers):
    if len(set(numbers)) == 1:
        return f'{numbers[0]:g}'
    return '[' + ', '.join(f'{number:g}' for number in numbers) + ']'

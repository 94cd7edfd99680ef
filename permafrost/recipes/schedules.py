"""Schedules: the factor of a recipe's learning rate, and the size of its images, at each epoch.

A schedule is a small value, `OneCycle(peak_epoch=5)`. --set and config.json write it as text: its
name and its numbers, as in the `examples` of its class. Nothing here imports TensorFlow.
"""

import abc
import dataclasses
import inspect
import math
from typing import Any, ClassVar, Dict, List, Sequence, Tuple, Type

import numpy as np

from permafrost.errors import UsageError, shown, unknown_name_error
from permafrost.recipes import setting_text


@dataclasses.dataclass(frozen=True)
class Schedule(abc.ABC):
    """The base class. As text: the name, then the fields without the defaults at the end."""
    name: ClassVar[str]
    examples: ClassVar[Tuple[str, ...]]

    @abc.abstractmethod
    def factor_at(self, epoch: Any, num_epochs: float, ops: Any = np) -> Any:
        """Return the factor at `epoch`, a number, or a float64 tensor if `ops` is TensorFlow.

        `num_epochs` is the length of the recipe. Raises ValueError if its peak is not within it.
        """

    def numbers(self, kind: str = '') -> List[float]:
        """Return the numbers of the fields whose names contain `kind`, such as 'epoch'."""
        return [float(number) for name, value in vars(self).items() if kind in name
                for number in np.ravel(value)]

    def rescaled(self, ratio: float) -> 'Schedule':
        """Return the schedule that does the same `ratio` times as late."""
        return dataclasses.replace(self, **{
            name: _later(value, ratio) for name, value in vars(self).items() if 'epoch' in name})

    @classmethod
    def from_words(cls, words: Sequence[str]) -> 'Schedule':
        """Return the schedule whose text is the name and `words`. Raises TypeError, ValueError."""
        return cls(*inspect.signature(cls).bind(*map(setting_text.parse_number, words)).args)

    def __str__(self) -> str:
        fields = list(dataclasses.fields(self))
        while fields and getattr(self, fields[-1].name) == fields[-1].default:
            fields.pop()
        numbers = [setting_text.to_text(getattr(self, field.name)) for field in fields]
        return ' '.join([self.name] + numbers)


class Constant(Schedule):
    """1 all the time."""
    name, examples = 'constant', ('constant',)

    def factor_at(self, epoch: Any, num_epochs: float, ops: Any = np) -> Any:
        return 1.


@dataclasses.dataclass(frozen=True)
class Linear(Schedule):
    """Straight lines from point to point; constant before the first and after the last."""
    epochs: Sequence[float]
    factors: Sequence[float]
    name, examples = 'linear', ('linear 0:0 5:1 24:0',)

    def __post_init__(self):
        if not self.epochs or len(self.epochs) != len(self.factors):
            raise ValueError('epoch:factor must follow the name, once or more')
        if any(a >= b for a, b in zip(self.epochs, self.epochs[1:])):
            raise ValueError('the epochs must rise')
        object.__setattr__(self, 'epochs', tuple(self.epochs))
        object.__setattr__(self, 'factors', tuple(self.factors))

    def factor_at(self, epoch: Any, num_epochs: float, ops: Any = np) -> Any:
        value = self.factors[0]
        points = list(zip(self.epochs, self.factors))
        for (start, first), (stop, last) in zip(points, points[1:]):
            share = ops.minimum(ops.maximum(epoch - start, 0.), stop - start) / (stop - start)
            value = value + (last - first) * share
        return value

    def rescaled(self, ratio: float) -> 'Schedule':
        return type(self)([_later(epoch, ratio) for epoch in self.epochs], self.factors)

    @classmethod
    def from_words(cls, words: Sequence[str]) -> 'Schedule':
        return cls(*_points(words, 'epoch:factor must follow the name, once or more'))

    def __str__(self) -> str:
        return _points_text(self.name, self.epochs, self.factors)


class Steps(Linear):
    """1 before the first epoch; from each epoch on, its factor."""
    name, examples = 'steps', ('steps 82:0.1 123:0.01',)

    def factor_at(self, epoch: Any, num_epochs: float, ops: Any = np) -> Any:
        value, last = 1., 1.
        for start, factor in zip(self.epochs, self.factors):
            reached = ops.minimum(ops.maximum(ops.floor(epoch - start) + 1., 0.), 1.)  # 0 or 1
            value, last = value + (factor - last) * reached, factor
        return value


@dataclasses.dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to 1 at the peak, then down until the recipe ends (Smith, arXiv:1708.07120)."""
    peak_epoch: float
    first: float = 0.
    final: float = 0.
    name, examples = 'one_cycle', ('one_cycle 5', 'one_cycle 5 0.1 0.01')

    def factor_at(self, epoch: Any, num_epochs: float, ops: Any = np) -> Any:
        points = Linear([0., self.peak_epoch, num_epochs], [self.first, 1., self.final])
        return points.factor_at(epoch, num_epochs, ops)


@dataclasses.dataclass(frozen=True)
class Cosine(OneCycle):
    """Straight up to 1 at the peak, then down in half a cosine (arXiv:1608.03983)."""
    peak_epoch: float = 0.
    name, examples = 'cosine', ('cosine', 'cosine 5')

    def factor_at(self, epoch: Any, num_epochs: float, ops: Any = np) -> Any:
        rise = Linear([0., self.peak_epoch], [self.first, 1.]) if self.peak_epoch else Constant()
        angle = Linear([self.peak_epoch, num_epochs], [0., math.pi])
        fall = 0.5 + 0.5 * ops.cos(angle.factor_at(epoch, num_epochs, ops))
        return rise.factor_at(epoch, num_epochs, ops) * (self.final + (1 - self.final) * fall)


@dataclasses.dataclass(frozen=True)
class Exponential(Schedule):
    """Multiplied by `decay` every `every_epochs` epochs, smoothly."""
    decay: float
    every_epochs: float = 1.
    name, examples = 'exponential', ('exponential 0.5 25',)

    def __post_init__(self):
        if self.decay <= 0 or self.every_epochs <= 0:
            raise ValueError('a positive factor and a positive number of epochs are needed')

    def factor_at(self, epoch: Any, num_epochs: float, ops: Any = np) -> Any:
        return ops.exp(math.log(self.decay) / self.every_epochs * epoch)


class Staircase(Exponential):
    """Multiplied by `decay` every `every_epochs` epochs, at once."""
    name, examples = 'staircase', ('staircase 0.5 25',)

    def factor_at(self, epoch: Any, num_epochs: float, ops: Any = np) -> Any:
        return ops.exp(math.log(self.decay) * ops.floor(epoch / self.every_epochs))


SCHEDULES: Dict[str, Type[Schedule]] = {schedule.name: schedule for schedule in (
    Constant, Steps, Linear, OneCycle, Cosine, Exponential, Staircase)}


def from_text(text: str) -> Schedule:
    """Return the schedule that `text` writes. Raises UsageError."""
    name, *words = text.split() or ['']
    if name not in SCHEDULES:
        raise unknown_name_error('schedule', name, SCHEDULES)
    try:
        return SCHEDULES[name].from_words(words)
    except (TypeError, ValueError) as error:
        examples = ' or '.join(map(repr, SCHEDULES[name].examples))
        raise UsageError(
            f'wrong schedule {shown(text)} ({error}). Write it as {examples}') from error


def _later(epoch: float, ratio: float) -> float:
    if ratio == 1:
        return epoch
    return float(f'{epoch * ratio:g}')  # six digits, as a reader would write it in config.json


RESIZING_MODES = ('crop', 'resize')


@dataclasses.dataclass(frozen=True)
class ProgressiveResizing:
    """Progressive resizing: the side in pixels of the training images from each epoch on.

    Written as 'crop 0:28 6:32': how images are made smaller, then epoch:pixels. Without sizes, no
    image is.
    """
    mode: str = 'crop'  # a random part of each image, or 'resize': the whole of it
    epochs: Tuple[float, ...] = ()  # rising, from 0
    sizes: Tuple[int, ...] = ()

    def rescaled(self, ratio: float) -> 'ProgressiveResizing':
        """Return the same sizes, `ratio` times as late."""
        epochs = tuple(_later(epoch, ratio) for epoch in self.epochs)
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
                f'{self.epochs[-1]:g}, and the training ends at epoch {num_epochs:g}: use '
                'earlier epochs, or raise --epochs')

    def __str__(self) -> str:
        return _points_text(self.mode, self.epochs, self.sizes) if self.sizes else 'none'


def resizing_from_text(text: str) -> ProgressiveResizing:
    """Return the value that `text` writes. Raises UsageError."""
    if text in ('', 'none'):
        return ProgressiveResizing()
    mode, *words = text.split()
    try:
        if mode not in RESIZING_MODES:
            raise ValueError(f'it must begin with {" or ".join(RESIZING_MODES)}')
        epochs, sizes = _points(words, 'epoch:pixels must follow, once or more')
        if epochs[0] != 0 or any(a >= b for a, b in zip(epochs, epochs[1:])):
            raise ValueError('the epochs must rise from 0')
        if any(size < 1 or size % 1 for size in sizes):
            raise ValueError('a size is a whole number of at least 1 pixel')
    except ValueError as error:
        raise UsageError(f'wrong progressive_resizing {shown(text)} ({error}). Write it as '
                         "'crop 0:28 6:32' or 'resize 0:24 4:32'") from error
    return ProgressiveResizing(mode, epochs, tuple(map(int, sizes)))


def _points(words: Sequence[str], problem: str) -> Tuple[Tuple[float, ...], Tuple[float, ...]]:
    """Return the epochs and the values of words such as '5:0.1'. Raises ValueError(problem)."""
    pairs = [word.split(':') for word in words]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError(problem)
    epochs, values = zip(*([setting_text.parse_number(text) for text in pair] for pair in pairs))
    return epochs, values


def _points_text(name: str, epochs: Sequence[float], values: Sequence[float]) -> str:
    """Return the text of which `_points` reads the words after `name`."""
    return ' '.join([name] + [f'{setting_text.to_text(epoch)}:{setting_text.to_text(value)}'
                              for epoch, value in zip(epochs, values)])

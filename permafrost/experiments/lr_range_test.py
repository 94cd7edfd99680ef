"""The learning-rate range test (Smith 2015, https://arxiv.org/abs/1506.01186): run and drawn.

A short training raises the learning rate step by step, from where nothing happens to where the loss
explodes. It leaves no run directory.
"""

import dataclasses
import math
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost import files
from permafrost.config import Config
from permafrost.errors import UsageError, printable
from permafrost.experiments import line_chart
from permafrost.recipes import durations
from permafrost.recipes.schedules import Exponential
from permafrost.training.checkpoints import saving
from permafrost.training.graph import build
from permafrost.training.setup import TrainSetup
from permafrost.training.signals import Signals
from permafrost.training.strategy import SINGLE_PROCESS, local_session
from permafrost.transfer.teachers import with_teacher
from permafrost.transfer.trained_weights import with_trained_weights

LOWEST, HIGHEST = 1e-4, 1e2  # times the learning rate of the recipe
MAX_STEPS = 500
SMOOTHING = 0.95  # decay per step of the average of the losses
DIVERGED = 4.  # times the lowest average: the loss has exploded
FEWEST = 10  # steps that say something


class RangeTest(NamedTuple):
    """The learning rate and the loss of each step, and the averages of the losses."""
    rates: Sequence[float]
    losses: Sequence[float]
    averages: Sequence[float]
    is_finite: bool = True  # False: the loss of the next step was infinite or NaN

    @property
    def best(self) -> float:
        """The rate at the lowest average."""
        return self.rates[int(np.argmin(self.averages))]

    @property
    def suggestion(self) -> float:
        """A third of the best rate, with two digits: the average lags, and the loss rises soon."""
        return float(f'{self.best / 3:.2g}')

    @property
    def has_exploded(self) -> bool:
        """True if the loss has risen well above its lowest average, or is no longer finite."""
        return not self.is_finite or _has_exploded(self.averages)


def run(setup: TrainSetup, session_config: Optional[tf.ConfigProto], steps: Optional[int],
        output: Optional[str]) -> int:
    """Run the range test of a training in `steps`, draw it to `output`, print a suggestion.

    By default it has the steps of one epoch, at most MAX_STEPS. Return the exit code: 128 plus its
    number after a signal. Raises UserError.
    """
    config = setup.config
    output = output or f'{config.model}-{config.recipe.name}-lr-range.svg'
    line_chart.check_output(output)
    if not config.recipe.learning_rate:
        raise UsageError('--learning_rate=0 has no range to test: leave it out')
    if steps and steps < FEWEST:
        raise UsageError(f'--lr_range_test needs at least {FEWEST} steps, not --steps={steps}')
    steps = steps or min(math.ceil(durations.steps_per_epoch(config)), MAX_STEPS)
    ramp = ramped(config, max(steps, FEWEST))
    with Signals() as signals, tf.Graph().as_default():
        setup = with_trained_weights(setup._replace(config=ramp), session_config)
        setup = with_teacher(setup, session_config)
        points, is_finite = _train(setup, session_config, signals)
    if signals.code:
        return signals.code
    rates, losses, averages = zip(*points)
    result = RangeTest(rates, losses, averages, is_finite)
    print(describe(result, config))
    files.write_atomically(output, draw(
        result, f'{config.model}, recipe {config.recipe.name}, batches of '
        f'{config.recipe.batch_size}', output))
    print(f'chart: {printable(output)}')
    return 0


def ramped(config: Config, steps: int) -> Config:
    """Return `config` with a learning rate that rises from LOWEST to HIGHEST in `steps` steps."""
    recipe = config.recipe
    epochs = steps / durations.steps_per_epoch(config)
    return dataclasses.replace(config, steps=steps, eval_epochs=0., recipe=dataclasses.replace(
        recipe, learning_rate=recipe.learning_rate * LOWEST,
        schedule=Exponential(HIGHEST / LOWEST, epochs), ema_decay=0.,
        param_groups=tuple(group.scaled(learning_rate=LOWEST) for group in recipe.param_groups)))


def _train(setup: TrainSetup, session_config: Optional[tf.ConfigProto], signals: Signals
           ) -> Tuple[List[Tuple[float, float, float]], bool]:
    """Return (rate, loss, average) of each step until the loss explodes, and if it stays finite."""
    graph = build(setup.config, setup.dataset, SINGLE_PROCESS, session_config, setup.trained,
                  setup.teacher)
    points: List[Tuple[float, float, float]] = []
    total, loss = 0., 0.
    fetches = [graph.scalars['learning_rate'], graph.scalars['loss'], graph.train]
    with saving.unwrap_user_errors(), local_session([], signals, session_config) as session:
        while len(points) < setup.config.steps and not signals.code:
            rate, loss, _ = session.run(fetches)
            if not math.isfinite(loss):
                break
            total = SMOOTHING * total + (1 - SMOOTHING) * loss
            average = total / (1 - SMOOTHING ** (len(points) + 1))
            points.append((float(rate), float(loss), average))
            if _has_exploded([point[2] for point in points]):
                break
    if not points and not signals.code:
        raise UsageError('the loss is not finite before the first update: check --init_from, '
                         '--teacher and the dataset')
    return points, math.isfinite(loss)


def _has_exploded(averages: Sequence[float]) -> bool:
    return len(averages) >= FEWEST and averages[-1] > DIVERGED * min(averages)


def describe(result: RangeTest, config: Config) -> str:
    """Return lines of text: the range, and what to try."""
    rates = result.rates
    lines = [f'learning rates {rates[0]:.2g} to {rates[-1]:.2g} in {len(rates)} steps: the loss is '
             f'lowest at {result.best:.2g}' + (', then it explodes' if result.has_exploded else '')]
    if result.best == rates[-1] and not result.has_exploded:
        lines.append('note: the loss falls to the end of the range: the best rate is higher')
    lines.append(f'suggestion: --learning_rate {result.suggestion:g} (the recipe has '
                 f'{config.recipe.learning_rate:g})')
    return '\n'.join(lines)


def draw(result: RangeTest, title: str, path: str) -> bytes:
    """Return the chart of the losses over the learning rates, in the format of `path`."""
    axes = line_chart.axes('Learning-rate range test: ' + title, 'learning rate', 'training loss')
    axes.plot(result.rates, result.losses, color='0.75', linewidth=0.8, label='loss of a batch')
    axes.plot(result.rates, result.averages, color='#1f5fb4', linewidth=2, label='moving average')
    axes.axvline(result.suggestion, color='#c04000', linestyle='--',
                 label=f'suggestion: {result.suggestion:g}')
    lowest, first = min(result.averages), result.averages[0]
    axes.set_ylim(max(0., lowest - 0.1 * first), 1.5 * max(first, lowest))
    axes.set_xscale('log')
    axes.legend()
    return line_chart.content(axes, path)

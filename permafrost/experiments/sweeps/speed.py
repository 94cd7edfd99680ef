"""Speed: images per second of a study's trainings, measured, and the time that runs will take."""

import contextlib
import datetime
import os
import tempfile
import time
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from permafrost import machine, runs
from permafrost.cli import commands
from permafrost.config import Config
from permafrost.errors import UserError, pluralize
from permafrost.experiments.sweeps.plan import PlannedRun
from permafrost.experiments.sweeps.pool import num_threads
from permafrost.experiments.sweeps.training_process import TrainingProcess, error_of

START_SECS = 10.  # of a process: the import of TensorFlow, the graph, the data, the first step
MEASURED_SECS = 10.  # after the first step
Kind = Tuple[str, ...]  # what a speed holds for


def kind_of(config: Config) -> Kind:
    """Return the settings that decide most of the speed of a run."""
    recipe = config.recipe
    return (config.model, config.dataset, config.source, str(recipe.image_size),
            str(recipe.progressive_resizing), str(recipe.batch_size), recipe.compute_dtype,
            recipe.optimizer, str(config.deterministic), str(config.teacher))


def recorded(planned: Iterable[PlannedRun], parallel: int) -> Dict[Kind, float]:
    """Return {kind: images per second} of the runs that have trained `parallel` at once."""
    speeds = {}
    for run in planned:
        speed = runs.read_status(run.directory).get('images_per_second')
        with contextlib.suppress(UserError):
            config, _ = runs.read_config(run.directory)
            threads = num_threads(run, parallel, machine.cores())
            if speed and config.intra_op_threads == threads:
                speeds[kind_of(config)] = speed
    return speeds


def measure(run: PlannedRun, more_arguments: Sequence[str]) -> float:
    """Return the images per second of a short training as `run` will be. Raises UserError.

    The training has ended when this returns or raises, also after Ctrl-C.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = run._replace(directory=os.path.join(folder, 'run'))
        process = TrainingProcess(trial, [*more_arguments, '--log_steps=1', '--eval_epochs=0',
                                          '--patience=0', '--summary_steps=0',
                                          '--histogram_steps=0'])
        try:
            steps_per_second = _steps_per_second(process)
            has_failed = not process.is_stopped and not trial.is_done()
            problem = error_of(trial, process.code() or 0) if has_failed else ''
        finally:
            process.end()
    if problem:
        command = commands.next_command('train.py', *run.arguments)
        raise UserError(f'{run.label}: {problem}: train it alone to see why: {command}')
    if not steps_per_second:
        raise UserError(f'{run.label} finished before its speed could be measured: leave out '
                        f"--dry_run, or give more than {pluralize(run.config.steps, 'step')}")
    return steps_per_second * run.config.recipe.batch_size


def _steps_per_second(process: TrainingProcess) -> float:
    """Return the speed of a training, which is stopped then; 0 if it ends before."""
    first: Optional[Tuple[float, int]] = None  # time and step
    last = (0., 0)
    while process.code() is None:
        time.sleep(.1)
        now = time.monotonic(), process.step()
        if now[1] != last[1]:
            last, first = now, first or now
        if first and now[0] > first[0] + MEASURED_SECS and last[1] > first[1]:
            process.stop()
    if first is None or last[1] <= first[1]:
        return 0.
    return (last[1] - first[1]) / (last[0] - first[0])


def seconds_left(run: PlannedRun, step: int, speeds: Dict[Kind, float]) -> float:
    """Return the time that a run takes from `step` on, in seconds.

    A kind that is not measured is as fast as the mean of the others.
    """
    speed = speeds.get(kind_of(run.config)) or sum(speeds.values()) / len(speeds)
    return max(0, run.config.steps - step) * run.config.recipe.batch_size / speed


def total_seconds(times: List[float], parallel: int) -> float:
    """Return the time of trainings, `parallel` at once, with the start of each, in seconds."""
    times = [seconds + START_SECS for seconds in times]
    return max([sum(times) / parallel, *times]) if times else 0.


def clock_time(seconds: float) -> str:
    """Return a duration as hours:minutes:seconds."""
    return str(datetime.timedelta(seconds=round(seconds)))

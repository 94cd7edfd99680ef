"""A queue of planned runs: each is trained once, by one sweep; finished ones are left alone."""

import contextlib
from typing import Dict, List, Optional, Sequence, Tuple

from permafrost.experiments.sweeps import speed
from permafrost.experiments.sweeps.plan import PlannedRun
from permafrost.experiments.sweeps.pool import RunSource
from permafrost.experiments.sweeps.training_process import claim


class RunQueue(RunSource):
    """The runs of a study in their order; another sweep may work on the same ones.

    `problems` is {run's label: why it failed}.
    """

    def __init__(self, planned: Sequence[PlannedRun], parallel: int):
        self.problems: Dict[str, str] = {}
        self._planned, self._parallel = planned, parallel
        self._pending = list(planned)  # not yet known to be done
        self._claims: Dict[str, contextlib.ExitStack] = {}  # of the runs that train here

    def next(self) -> Optional[PlannedRun]:
        for run in list(self._pending):
            held = None if run.is_done() else claim(run.directory)
            if run.is_done():  # perhaps by another sweep, a moment ago
                self._pending.remove(run)
                if held:
                    held.close()
            elif held:
                self._pending.remove(run)
                self._claims[run.directory] = held
                return run
        return None

    def is_empty(self) -> bool:
        return not self._pending

    def should_stop(self, run: PlannedRun) -> bool:
        return False

    def finished(self, run: PlannedRun, problem: str) -> None:
        self._claims.pop(run.directory).close()
        if problem:
            self.problems[run.label] = problem

    def progress(self, running: List[Tuple[PlannedRun, int]]) -> str:
        done = sum(run.is_done() for run in self._planned)
        parts = [f'{done} of {len(self._planned)} runs done']
        if self.problems:
            parts.append(f'{len(self.problems)} failed')
        speeds = speed.recorded(self._planned, self._parallel)
        steps = {run.directory: step for run, step in running}
        left = [run for run in self._planned
                if (run in self._pending or run.directory in steps) and not run.is_done()]
        if speeds and left:
            times = [speed.seconds_left(run, steps.get(run.directory, run.step()), speeds)
                     for run in left]
            parts.append(f'ETA {speed.clock_time(speed.total_seconds(times, self._parallel))}')
        return ', '.join(parts)

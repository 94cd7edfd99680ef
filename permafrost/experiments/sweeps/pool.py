"""A pool of trainings: starts as many at once as it may, and continues past those that fail."""

import abc
import contextlib
import time
from typing import List, Optional, Tuple

from permafrost import machine, runs
from permafrost.experiments.sweeps.plan import PlannedRun
from permafrost.experiments.sweeps.training_process import TrainingProcess, reason_of_failure
from permafrost.training.signals import Signals

POLL_SECS = 0.2
PROGRESS_SECS = 60.
WAIT_SECS = 5.  # without a run before the log says that another process has them


class RunSource(abc.ABC):
    """Where the pool gets its runs from: a list, or a search."""

    @abc.abstractmethod
    def next(self) -> Optional[PlannedRun]:
        """Return a run to start or to continue; None if there is none now."""

    @abc.abstractmethod
    def is_empty(self) -> bool:
        """Return whether nothing will follow when the runs of this process have ended."""

    @abc.abstractmethod
    def should_stop(self, run: PlannedRun) -> bool:
        """Return whether to stop a run that is training; called every few moments."""

    @abc.abstractmethod
    def finished(self, run: PlannedRun, problem: str) -> None:
        """Note the end of a run; `problem` is why it failed, '' if it is done or was stopped."""

    @abc.abstractmethod
    def progress(self, running: List[Tuple[PlannedRun, int]]) -> str:
        """Return how far the whole is, in a line; `running`: runs and their steps."""


def run_all(source: RunSource, parallel: int) -> int:
    """Train the runs of `source`, `parallel` at once; return the exit code.

    It is 1 if a run failed. After a signal the trainings save and end; then it is the signal's.
    """
    pool = _Pool(source, parallel)
    with Signals('waiting until the runs are saved') as signals, contextlib.closing(pool):
        while True:
            if signals.code:
                signals.report()
                pool.stop()
            else:
                pool.start()
            if not pool.running and (signals.code or source.is_empty()):
                break
            time.sleep(POLL_SECS)
            pool.poll(interrupted=bool(signals.code))
    return signals.code or int(pool.failures > 0)


def num_threads(run: PlannedRun, parallel: int, num_cores: int) -> int:
    """Return the intra_op_threads of `run` as one of `parallel`; 0: the best for the engine.

    A run that states its threads, or is deterministic, keeps its own.
    """
    if _has_own_threads(run):
        return run.config.intra_op_threads
    return max(1, num_cores // parallel) if parallel > 1 else 0


def thread_flags(run: PlannedRun, parallel: int, num_cores: int) -> List[str]:
    """Return the flags of `run` that share the cores out among `parallel` trainings, if any."""
    # A run that continues alone would keep the share that it had.
    if _has_own_threads(run) or (parallel < 2 and not runs.exists(run.directory)):
        return []
    share = num_threads(run, parallel, num_cores)
    return [f'--intra_op_threads={share}', f'--inter_op_threads={share}']


def _has_own_threads(run: PlannedRun) -> bool:
    return run.config.deterministic or any('_op_threads' in each for each in run.arguments)


class _Pool:

    def __init__(self, source: RunSource, parallel: int):
        self.running: List[TrainingProcess] = []
        self.failures = 0
        self._source, self._parallel = source, parallel
        self._time = time.monotonic()
        self._idle_since, self._is_noted = self._time, False

    def start(self) -> None:
        """Fill the free places."""
        while len(self.running) < self._parallel:
            run = self._source.next()
            if run is None:
                return
            self.running.append(TrainingProcess(
                run, thread_flags(run, self._parallel, machine.cores())))
            step = run.step()
            print(f'{run.label}: ' + (f'continues at step {step}' if step else 'starts'),
                  flush=True)

    def poll(self, interrupted: bool) -> None:
        """Note the trainings that have ended, and stop those that the source gives up."""
        now = time.monotonic()
        if self.running or interrupted:
            self._idle_since, self._is_noted = now, False
        elif now > self._idle_since + WAIT_SECS and not self._is_noted:
            self._print_progress(with_runs=True)
            self._is_noted = True
        for process in list(self.running):
            code = process.code()
            if code is not None:
                self.running.remove(process)
                self._note_end(process, code, interrupted)
            elif not process.is_stopped and self._source.should_stop(process.run):
                process.stop()
        if time.monotonic() > self._time + PROGRESS_SECS:
            self._print_progress(with_runs=True)

    def _note_end(self, process: TrainingProcess, code: int, interrupted: bool) -> None:
        run, problem = process.run, ''
        if interrupted and not run.is_done() and not self._source.should_stop(run):
            return  # it continues next time
        if not process.is_stopped and not run.is_done():
            problem = reason_of_failure(run, code)
            self.failures += 1
        self._source.finished(run, problem)
        status = runs.read_status(run.directory)
        print(f'{run.label}: ' + (
            f'FAILED: {problem}' if problem else
            f"{'done' if run.is_done() else 'stopped'} at step {status.get('step', 0)}"))
        self._print_progress(with_runs=False)

    def _print_progress(self, with_runs: bool) -> None:
        self._time = time.monotonic()
        running = [(each.run, each.step()) for each in self.running]
        details = [f'{run.label} at step {step}/{run.config.steps}' for run, step in running]
        if not details:
            details = ['waiting for the runs of another process']
        text = self._source.progress(running)
        print(', '.join([text, *details]) if with_runs else text, flush=True)

    def stop(self) -> None:
        """Let all trainings save and end."""
        for process in self.running:
            process.stop()

    close = stop

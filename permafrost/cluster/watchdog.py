"""A thread that acts when the main thread cannot, because a TensorFlow call blocks it.

Python runs signal handlers in the main thread, between two of its instructions. While that thread
waits in a step for a task that is gone, SIGTERM and Ctrl-C have no effect.
"""

import enum
import math
import os
import select
import signal
import sys
import threading
import time
from concurrent import futures
from typing import Callable, Dict, Iterable

from permafrost.cli.ending_signals import ENDING_SIGNALS
from permafrost.cluster import network
from permafrost.errors import one_line

STALL_SECS = 30.  # without a step before the first report, and between reports
NOTICE_SECS = 5.  # for the main thread to notice a signal
SAVE_SECS = 60.  # for saving
ASK_SECS = 5.  # between two questions to the servers, while it saves
ALL_ANSWER = 'all tasks answer'
CLOSE_SECS = 10.  # for closing sessions, once all is saved


class State(enum.Enum):
    """The states of the main thread, and what happens when one lasts too long.

    RUNNING    runs training steps. After STALL_SECS without one, reports which tasks do not answer
               and pings, every STALL_SECS. After wait_secs more, saves and exits with code 1. If
               it waits_for_chief, it continues as long as all tasks answer.
    STOPPING   got a signal. Saves and exits with the signal's code, or 1 if it cannot save.
    SAVING     makes no more steps. Exits with code 1.
    NOTIFYING  has saved and tells the servers, or waits for the chief to save. Exits with the
               signal's code, or else 1.
    CLOSING    has told the servers and closes sessions. Exits with the signal's code, or else 0.
    """
    RUNNING, STOPPING, SAVING, NOTIFYING, CLOSING = range(5)


class Watchdog:
    """Context that limits how long this process waits for other tasks, and for its own shutdown.

    Both {name: address}: `servers` are needed for saving, `others` for every step.
    `waits_for_chief`: steps of this task wait while the chief evaluates.

    Attributes, functions that each run in a thread of their own:
      ping: sends a request to the servers. If a server has dropped the connection, the send fails,
        and so does the step that waits.
      emergency_save: saves before the process exits.
    """

    def __init__(self, servers: Dict[str, str], others: Dict[str, str], wait_secs: float,
                 waits_for_chief: bool = False):
        self.ping: Callable[[], None] = lambda: None
        self.emergency_save: Callable[[], None] = lambda: None
        self.state = State.RUNNING
        self._servers, self._others = servers, others
        self._wait_secs, self._waits_for_chief = wait_secs, waits_for_chief
        self._signal_code = 0  # exit code for the signal that came, if any
        self._last_step = time.monotonic()
        self._deadline = self._last_step + STALL_SECS  # of the state
        self._lock = threading.Lock()  # of the state and its deadline
        self._stopped = threading.Event()

    def __enter__(self) -> 'Watchdog':
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._previous_fd = signal.set_wakeup_fd(self._pipe[1])
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *unused: object) -> None:
        signal.set_wakeup_fd(self._previous_fd)
        with self._lock:
            self._deadline = math.inf  # the thread may be about to check once more
        self._stopped.set()

    def heartbeat(self) -> None:
        """Record that a step completed, or that the last evaluation still runs."""
        self._last_step = time.monotonic()
        self._change(State.RUNNING, STALL_SECS, [State.RUNNING])
        self._change(State.SAVING, SAVE_SECS + self._wait_secs, [State.SAVING])

    def restart(self) -> None:
        """Note that there is a new session, and that steps follow unless a signal came."""
        self._last_step = time.monotonic()
        self._change(State.RUNNING, STALL_SECS, set(State) - {State.STOPPING})

    def receive_signal(self, number: int) -> None:
        """Note that a signal came."""
        if number in ENDING_SIGNALS:
            self._signal_code = 128 + number
            self._change(State.STOPPING, NOTICE_SECS, [State.RUNNING])

    def enter(self, state: State) -> None:
        """Note that the main thread makes no more steps: it is SAVING or a later state."""
        self._change(state, CLOSE_SECS if state is State.CLOSING else SAVE_SECS + self._wait_secs)

    def check(self, now: float) -> None:
        """Act if the state lasts too long at the time `now` (time.monotonic)."""
        if now <= self._deadline:
            return
        if self.state is State.RUNNING:
            return self._report_stall(now)
        if self.state in (State.STOPPING, State.SAVING):
            is_stopping = self.state is State.STOPPING
            problem = self._save() if is_stopping else self._reason()
            if is_stopping and self.state is not State.STOPPING:
                return  # the main thread has gone on meanwhile: it saves, and reports that
            if problem:
                exit_process(1, f'could not save ({problem}): --resume continues from the last '
                             'checkpoint')
        elif self.state is State.NOTIFYING and not self._signal_code:
            exit_process(1, f'could not end with the other tasks: {self._reason()}')
        elif self.state is State.CLOSING:
            self._save()
        exit_process(self._signal_code)

    def _change(self, state: State, seconds: float, before: Iterable[State] = State) -> None:
        """Change to `state`, for at most `seconds`, if the current state is one of `before`."""
        with self._lock:
            if self.state in before:
                self.state = state
                self._deadline = time.monotonic() + seconds

    def _watch(self) -> None:
        while not self._stopped.is_set():
            if select.select([self._pipe[0]], [], [], 1.)[0]:
                for number in os.read(self._pipe[0], 64):
                    self.receive_signal(number)
            self.check(time.monotonic())
        for end in self._pipe:
            os.close(end)

    def _report_stall(self, now: float) -> None:
        last_step, seconds = self._last_step, now - self._last_step
        reason, remaining = self._reason(), self._wait_secs + STALL_SECS - seconds
        if self._waits_for_chief and reason == ALL_ANSWER:
            reason, remaining = f'{reason}, and the chief may be evaluating', STALL_SECS
        message = f'no training step for {seconds:.0f} s: {reason}'
        if remaining < 0:
            problem = self._save()
            if self._last_step != last_step:
                return  # the step that hung has ended meanwhile
            lost = f' (the last steps are lost: {problem})' if problem else ''
            exit_process(1, f'{message}; start the missing task, then restart this one{lost}')
        print(message, flush=True)
        threading.Thread(target=self.ping, daemon=True).start()
        self._change(State.RUNNING, min(STALL_SECS, remaining), [State.RUNNING])

    def _reason(self) -> str:
        missing = network.unanswered(self._others)
        return f'no answer from {missing}' if missing else ALL_ANSWER

    def _save(self) -> str:
        """Call emergency_save, which may block. Return what went wrong, or ''."""
        saved = futures.ThreadPoolExecutor().submit(self.emergency_save)
        deadline, asked = time.monotonic() + SAVE_SECS, ''
        while not saved.done() and time.monotonic() < deadline:
            futures.wait([saved], timeout=ASK_SECS)
            missing = '' if saved.done() else network.unanswered(self._servers)
            if missing and asked:
                return f'no answer from {missing}'
            asked = missing
        if not saved.done():
            return f'it took more than {SAVE_SECS:.0f} s'
        error = saved.exception()
        if error is None:
            return ''
        missing = network.unanswered(self._servers)  # the cause of TensorFlow's error
        return f'no answer from {missing}' if missing else one_line(error) or type(error).__name__


def exit_process(code: int, message: str = '') -> None:
    """End the process at once; its main thread is blocked."""
    if message:
        print('error: ' + message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

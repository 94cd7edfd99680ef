"""A thread that acts when the main thread cannot, because a TensorFlow call blocks it.

Python runs signal handlers in the main thread, between two of its instructions. While that thread
waits in a step for a task that is gone, SIGTERM and Ctrl-C have no effect.
"""

import enum
import os
import select
import signal
import sys
import threading
import time
from typing import Callable, Dict, Iterable, Optional

from permafrost.cluster import network
from permafrost.errors import one_line

STALL_SECS = 30.  # without a step, until the first report and from each to the next
NOTICE_SECS = 5.  # for the main thread to notice a signal
SAVE_SECS = 60.  # for saving
CLOSE_SECS = 10.  # for closing sessions, once all is saved


class State(enum.Enum):
    """The state of the main thread: what it does, what changes it, and what ends it.

    RUNNING    makes steps. STALL_SECS without a heartbeat: STALLED. Signal: STOPPING.
    STALLED    waits in a step. Heartbeat: RUNNING. Signal: STOPPING. Reports every STALL_SECS which
               tasks are missing, and pings. After wait_secs more, saves and exits with code 1.
    STOPPING   should leave the loop of steps. After NOTICE_SECS, saves and exits as signalled, or
               with code 1 if it cannot save.
    SAVING     has left the loop (begin_shutdown). After too long, exits with code 1.
    NOTIFYING  has saved (mark_saved) and tells the servers. After too long, exits as signalled, or
               with code 1 if there was no signal.
    CLOSING    has told the servers (finish) and closes sessions. After CLOSE_SECS, exits as
               signalled, or with code 0.
    """
    RUNNING = 1
    STALLED = 2
    STOPPING = 3
    SAVING = 4
    NOTIFYING = 5
    CLOSING = 6


TRAINING = (State.RUNNING, State.STALLED)


class Watchdog:
    """Context that limits how long this process waits for other tasks, and for itself.

    Args:
      others: {name: address} of the tasks without which no step is made.
      wait_secs: how long to wait for them, after the first STALL_SECS.

    Attributes, both called in threads of their own:
      ping: sends something to the servers. After a link was cut, a server may have dropped the
        connection; this end, which waits for an answer, only notices when it sends.
      emergency_save: saves before the process exits.
    """

    def __init__(self, others: Dict[str, str], wait_secs: float):
        self.ping: Callable[[], None] = lambda: None
        self.emergency_save: Callable[[], None] = lambda: None
        self.state = State.RUNNING
        self._others = others
        self._wait_secs = wait_secs
        self._signal_code: Optional[int] = None  # exit code for the signal that came
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
        self._stopped.set()

    def heartbeat(self) -> None:
        """Note that a step was made."""
        self._last_step = time.monotonic()
        self._change(State.RUNNING, STALL_SECS, TRAINING)

    def receive_signal(self, number: int) -> None:
        """Note that a signal came."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._signal_code = 128 + number
            self._change(State.STOPPING, NOTICE_SECS, TRAINING)

    def begin_shutdown(self, saves: bool) -> None:
        """Note that the main thread has left the loop of steps, and whether it will save."""
        self._change(State.SAVING if saves else State.NOTIFYING, max(SAVE_SECS, self._wait_secs))

    def mark_saved(self) -> None:
        """Note that the main thread has saved, if it had to."""
        self.begin_shutdown(saves=False)

    def finish(self, emergency_save: Callable[[], None]) -> None:
        """Note that only sessions remain to be closed. Failures no longer matter."""
        self.emergency_save = emergency_save
        self._change(State.CLOSING, CLOSE_SECS)

    def check(self, now: float) -> None:
        """Act if the state lasts too long at the time `now` (time.monotonic)."""
        if now <= self._deadline:
            return
        if self.state in TRAINING:
            return self._report_stall(now)
        if self.state in (State.STOPPING, State.SAVING):
            problem = self._save() if self.state is State.STOPPING else self._reason()
            if problem:
                exit_process(1, f'could not save ({problem}): --resume continues from the last '
                             'checkpoint')
        elif self.state is State.NOTIFYING and self._signal_code is None:
            exit_process(1, f'could not tell the servers that this task is done: {self._reason()}')
        elif self.state is State.CLOSING:
            self._save()
        exit_process(self._signal_code or 0)

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
        seconds = now - self._last_step
        message = f'no training step for {seconds:.0f} s: {self._reason()}'
        remaining = self._wait_secs + STALL_SECS - seconds
        if remaining < 0:
            problem = self._save()
            lost = f' (the last steps are lost: {problem})' if problem else ''
            exit_process(1, f'{message}; start what is missing, then this task again{lost}')
        print(message, flush=True)
        threading.Thread(target=self.ping, daemon=True).start()
        self._change(State.STALLED, min(STALL_SECS, remaining), TRAINING)

    def _reason(self) -> str:
        missing = network.unreachable(self._others)
        return f'no answer from {missing}' if missing else 'all tasks are reachable'

    def _save(self) -> str:
        """Call emergency_save in a thread, which may block. Return what went wrong, or ''."""
        problem = f'it took more than {SAVE_SECS:.0f} s'

        def save() -> None:
            nonlocal problem
            try:
                self.emergency_save()
                problem = ''
            except Exception as error:  # whatever it is, this process ends now
                problem = one_line(error) or type(error).__name__

        thread = threading.Thread(target=save, daemon=True)
        thread.start()
        thread.join(SAVE_SECS)
        return problem


def exit_process(code: int, message: str = '') -> None:
    """End the process at once; its main thread is blocked."""
    if message:
        print('error: ' + message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

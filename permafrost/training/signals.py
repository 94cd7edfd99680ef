"""Stop a training in order when SIGTERM or SIGINT arrives."""

import os
import signal
import sys
from typing import Any, Dict


class Signals:
    """Context in which the first SIGTERM or SIGINT sets `code` instead of ending the process.

    A second signal ends the process at once. `code` is 0 until a signal arrives, then the exit
    code: 128 plus the signal's number. `message` is printed after the first signal's name.
    """

    def __init__(self, message: str = 'saving at this step, then exiting; again to exit at once'):
        self.code = 0
        self._message = message
        self._handlers: Dict[int, Any] = {}

    def __enter__(self) -> 'Signals':
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *unused: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, unused_frame: Any) -> None:
        if self.code:
            os._exit(self.code)
        self.code = 128 + number
        print(f'\n{signal.Signals(number).name}: {self._message}', file=sys.stderr, flush=True)

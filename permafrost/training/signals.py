"""Stop a training in order when a signal arrives that would end the process."""

import os
import signal
import sys
from typing import Any, Dict

from permafrost.cli.ending_signals import on_ending_signals

# Systems send the others to warn, and more than once: a closed terminal, Slurm, a CPU time limit.
INSISTENT = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Signals:
    """Context in which the first ending signal sets `code` instead of ending the process.

    `code` is 0 until a signal arrives, then the exit code: 128 plus the signal's number; `name` is
    the signal's. Nothing is printed then: report prints it, once what must be saved is saved. A
    second SIGTERM, SIGINT or SIGQUIT ends the process at once.
    """

    def __init__(self, message: str = ''):
        self.code = 0
        self.name = ''
        self._message = message
        self._handlers: Dict[int, Any] = {}

    def __enter__(self) -> 'Signals':
        self._handlers = on_ending_signals(self._on_signal)
        return self

    def __exit__(self, *unused: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def report(self) -> None:
        """Print the signal that arrived and the message, if any; once."""
        if self.code and self._message:
            print(f'{self.name}: {self._message}', file=sys.stderr, flush=True)
            self._message = ''

    def _on_signal(self, number: int, unused_frame: Any) -> None:
        if not self.code:
            self.code, self.name = 128 + number, signal.Signals(number).name
        elif number in INSISTENT:
            os._exit(self.code)

"""Stop a training in order when a signal arrives that would end the process."""

import contextlib
import os
import signal
import sys
import threading
from typing import Any, Callable, Dict, Iterator

from permafrost.cli.ending_signals import ENDING_SIGNALS, exit_if_signalled, on_ending_signals

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
        exit_if_signalled()
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

    @contextlib.contextmanager
    def calling(self, function: Callable[[], Any]) -> Iterator[None]:
        """Context in which function() is called, in another thread, as soon as a signal arrives.

        Python runs handlers in the main thread, which may wait inside TensorFlow.
        """
        numbers, end = os.pipe()
        os.set_blocking(end, False)

        def watch() -> None:
            received = b''
            while b'\0' not in received:
                received = os.read(numbers, 64)
                if set(received) & set(ENDING_SIGNALS):
                    function()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        previous = signal.set_wakeup_fd(end)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            os.write(end, b'\0')
            thread.join()
            os.close(numbers)
            os.close(end)

    def _on_signal(self, number: int, unused_frame: Any) -> None:
        if not self.code:
            self.code, self.name = 128 + number, signal.Signals(number).name
        elif number in INSISTENT:
            os._exit(self.code)

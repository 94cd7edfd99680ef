"""Signals."""

import os
import signal
import sys

class Signals:
    """Context in which SIGTERM and SIGINT set `code` instead of ending the process.

    A second signal ends it at once. `says`, with the signal's name for %s, is what the first
    one prints.
    """

    def __init__(self, says='%s: saving at this step, then exiting; again to exit at once'):
        self.code = 0
        self._says = says
        self._old = {}

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self._old[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *unused):
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _stop(self, number, unused_frame):
        if self.code:
            os._exit(self.code)
        self.code = 128 + number
        print('\n' + self._says % {signal.SIGTERM: 'SIGTERM', signal.SIGINT: 'SIGINT'}[number],
              file=sys.stderr, flush=True)

"""A thread that acts where the main thread cannot, because a call of TensorFlow holds it."""

import os
import select
import signal
import sys
import threading
import time

from permafrost.cluster import network

STALL_SECS = 30.  # without a step, before it is said who is missing, and how often
LEAVE_SECS = 5.  # for the main thread to notice a signal
SAVE_SECS = 60.  # to save and leave
CLOSE_SECS = 10.  # to close sessions, once all is saved


class Watchdog:
    """Context that bounds how long this process waits for other tasks, and for itself.

    Python runs handlers of signals in the main thread, between two of its instructions: while it
    waits in a step for a task that is gone, neither SIGTERM nor Ctrl-C would do anything, and
    it could wait for ever.

    Args:
      others: {name: address} of the tasks without which there is no step.
      wait_secs: seconds without a step after which the process fails.

    Attributes:
      poke: called, in a thread of its own, when there has been no step for STALL_SECS. It should
        send something to the servers. After a link was cut a server may have dropped the
        connection, which this end, waiting for an answer, finds out by sending alone.
      rescue: called, once, where a signal finds the main thread held; then the process ends.
    """

    def __init__(self, others, wait_secs):
        self.poke = self.rescue = _nothing
        self._others = others
        self._wait_secs = wait_secs
        self._beat = self._said = time.monotonic()
        self._deadline = self._code = None
        self._whole = False  # all is saved
        self._over = threading.Event()

    def __enter__(self):
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._old = signal.set_wakeup_fd(self._write)
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *unused):
        self._over.set()
        signal.set_wakeup_fd(self._old)

    def beat(self):
        """A step was made: all is well."""
        self._beat = self._said = time.monotonic()

    def leaving(self, saves):
        """The main thread has left the loop of steps, and now, where it `saves`, is saving."""
        self._deadline = time.monotonic() + max(SAVE_SECS, self._wait_secs)
        self.rescue = self._unsaved if saves else _nothing

    def kept(self):
        """The main thread has saved what it was to save."""
        self.rescue = _nothing

    def _unsaved(self):
        raise TimeoutError(self._reason())

    def saved(self, rescue):
        """All is saved and the others are told: what is left is closing, which matters little."""
        self._code, self.rescue, self._whole = self._code or 0, rescue, True
        self._deadline = time.monotonic() + CLOSE_SECS

    def missing(self):
        """The names and addresses of the others that do not answer."""
        return ['%s (%s)' % item for item in self._others.items()
                if not network.is_reachable(item[1])]

    def _run(self):
        while not self._over.is_set():
            if select.select([self._read], [], [], 1.)[0]:
                for number in os.read(self._read, 64):
                    if number in (signal.SIGTERM, signal.SIGINT):
                        self._code = 128 + number
                        self._deadline = self._deadline or time.monotonic() + LEAVE_SECS
            now = time.monotonic()
            if self._deadline and now > self._deadline:
                self._leave()
            elif not self._deadline and now - self._said > STALL_SECS:
                self._said = now
                print('no step for %d s: %s' % (now - self._beat, self._reason()), flush=True)
                threading.Thread(target=self.poke, daemon=True).start()
            if not self._deadline and now - self._beat > self._wait_secs + STALL_SECS:
                reason, trouble = self._reason(), self._save()
                _exit(1, 'error: no step for %d s: %s; start what is missing, then this task '
                      'again%s' % (now - self._beat, reason,
                                   trouble and ' (the last steps are not saved: %s)' % trouble))

    def _reason(self):
        missing = self.missing()
        return 'no answer from ' + ', '.join(missing) if missing else 'all tasks answer'

    def _leave(self):
        """Ends the process, whose main thread is held: after a signal, or after the last step."""
        trouble = self._save()
        if self._code is None:
            _exit(1, 'error: could not save and end: ' + self._reason())
        if trouble and not self._whole:
            _exit(1, 'error: could not save (%s): --resume goes on from the checkpoint before'
                  % trouble)
        _exit(self._code, '')

    def _save(self):
        """Calls `rescue`, in a thread that may hang. Returns what went wrong, or ''."""
        said = []

        def save():
            try:
                self.rescue()
                said.append('')
            except Exception as error:  # whatever it is, this process ends now
                said.append(' '.join(str(error).split())[:200] or type(error).__name__)
        saver = threading.Thread(target=save, daemon=True)
        saver.start()
        saver.join(SAVE_SECS)
        return said[0] if said else 'it took more than %d s' % SAVE_SECS


def _nothing():
    pass


def _exit(code, message):
    if message:
        print(message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

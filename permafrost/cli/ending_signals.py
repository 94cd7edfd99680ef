"""The signals that end a process, and their handlers."""

import os
import signal
import sys
from typing import Any, Dict, Optional

# SIGHUP: the terminal was closed. SIGUSR1: Slurm's warning. SIGXCPU: a limit of CPU time.
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
                  signal.SIGXCPU)

# Asks a child process to save and end. Unlike SIGTERM, it may arrive twice: from the parent, and
# again when the parent ends.
REQUEST_TO_END = signal.SIGUSR1

_exit_code: Optional[int] = None  # set by the first signal after exit_on_ending_signals


def on_ending_signals(handler: Any) -> Dict[int, Any]:
    """Set the handler of the signals that end a process; return {number: handler} of before.

    SIGHUP stays ignored where it is, as nohup asks.
    """
    return {number: signal.signal(number, handler) for number in ENDING_SIGNALS
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN}


def exit_on_ending_signals() -> None:
    """Let the first ending signal raise SystemExit(128 + its number), and a second one end at once.

    Python loses an exception that a handler raises inside a callback or a __del__, and some modules
    catch or replace it while they are imported. After that, exit_if_signalled raises it again.
    """
    def end(number: int, unused_frame: Any) -> None:
        global _exit_code
        _exit_code = 128 + number
        on_ending_signals(lambda number, unused_frame: os._exit(128 + number))
        exit_if_signalled()

    on_ending_signals(end)


def exit_if_signalled() -> None:
    """Raise SystemExit again if an ending signal has arrived."""
    if _exit_code is not None:
        sys.exit(_exit_code)

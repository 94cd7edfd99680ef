"""The signals that end a process, and their handlers."""

import signal
from typing import Any, Dict

# SIGHUP: the terminal was closed. SIGUSR1: Slurm's warning. SIGXCPU: a limit of CPU time.
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
                  signal.SIGXCPU)


def on_ending_signals(handler: Any) -> Dict[int, Any]:
    """Set the handler of the signals that end a process; return {number: handler} of before.

    SIGHUP stays ignored where it is, as nohup asks.
    """
    return {number: signal.signal(number, handler) for number in ENDING_SIGNALS
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN}

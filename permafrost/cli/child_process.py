"""Child processes that do not outlive the process that started them."""

import contextlib
import ctypes
from typing import Callable

PR_SET_PDEATHSIG = 1  # of prctl, in linux/prctl.h


def end_with_parent(number: int) -> Callable[[], None]:
    """Return a preexec_fn of Popen: the child gets signal `number` when its parent ends.

    That holds however the parent ends, even by SIGKILL. Only Linux does this.
    """
    # Loaded here: in the child, another thread of the parent could hold the loader's lock.
    prctl = getattr(ctypes.CDLL(None), 'prctl', None)

    def ask() -> None:
        with contextlib.suppress(OSError):
            if prctl:
                prctl(PR_SET_PDEATHSIG, int(number))

    return ask

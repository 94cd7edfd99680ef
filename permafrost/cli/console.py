"""Output that never ends a script: a closed, dead or full stream loses text, and nothing else."""

import errno
import io
import os
import select
import stat
import sys
from typing import Any, List, Optional


class Descriptor(io.RawIOBase):
    """Raw output to a file descriptor that counts whatever it is given as written.

    `lost` is the error by which output was lost; None if none was, or because nobody reads it any
    more: a pipe whose reader has ended, a terminal that was closed.
    """

    def __init__(self, number: int):
        self.lost: Optional[OSError] = None
        self._number = number
        self._is_file = stat.S_ISREG(os.fstat(number).st_mode)

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast('B')
        size = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._number, rest):]
            except BlockingIOError:  # another process made the pipe or the terminal non-blocking
                select.select([], [self._number], [])
            except OSError as error:
                if error.errno != errno.EPIPE and not (
                        error.errno == errno.EIO and not self._is_file):
                    self.lost = error
                break
        return size


_descriptors: List[Descriptor] = []  # of stdout and stderr


def install() -> None:
    """Replace sys.stdout and sys.stderr, unless a caller in this process has replaced them.

    Names that the encoding of the stream lacks are escaped. A file descriptor 0, 1 or 2 that is
    closed is opened on /dev/null: no file of ours may become one of them.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in ((1, 'stdout'), (2, 'stderr')):
        original = getattr(sys, name)
        if original is not getattr(sys, f'__{name}__'):
            continue
        if original is not None:
            original.flush()
        descriptor = Descriptor(number)
        _descriptors.append(descriptor)
        setattr(sys, name, io.TextIOWrapper(
            io.BufferedWriter(descriptor), getattr(original, 'encoding', 'utf-8'),
            'backslashreplace', line_buffering=True))


def report_lost() -> bool:
    """Return whether output was lost that somebody waits for; say so on a stream that works."""
    for name in ('stdout', 'stderr'):
        getattr(sys, name).flush()
    lost = [each for each in _descriptors if each.lost]
    if lost:
        works = sys.stdout if len(lost) < 2 and lost[0].fileno() == 2 else sys.stderr
        print(f'note: some output was lost ({lost[0].lost.strerror})', file=works,
              flush=True)
    return bool(lost)

"""EventWriter: writes a file of events, which TensorBoard reads."""

import contextlib
import os
import re
import socket
import time
from typing import Any, Optional

import tensorflow.compat.v1 as tf

from permafrost.errors import one_line, printable

NAME = re.compile(r'events\.out\.tfevents\.(\d{10})\.')


class EventWriter:
    """Writes an event file for TensorBoard. If it cannot, it says so once and does nothing more.

    Errors of tf.summary.FileWriter's thread go unnoticed (1.15) or end the training (2.x).
    """

    def __init__(self, directory: str, graph: Optional[tf.Graph] = None):
        # The nanoseconds keep two files of one second apart.
        self._path = os.path.join(directory, f'events.out.tfevents.{_start(directory)}.'
                                  f'{socket.gethostname()}.{time.time_ns()}')
        self._file: Any = None
        self._has_failed = False
        self.write(file_version='brain.Event:2')
        if graph is not None:
            self.write(graph_def=graph.as_graph_def(add_shapes=True).SerializeToString())

    def write(self, **fields: Any) -> None:
        """Write an event with these `fields` of tf.Event."""
        if self._has_failed:
            return
        try:
            if self._file is None:
                self._file = tf.io.TFRecordWriter(os.fsencode(self._path))
            self._file.write(tf.Event(wall_time=time.time(), **fields).SerializeToString())
            self._file.flush()
        except tf.errors.OpError as error:
            self._has_failed = True
            reason = printable(one_line(error).split('; ')[-1])
            print(f'note: cannot write {printable(self._path)} ({reason}): TensorBoard will not '
                  'show later events', flush=True)

    def close(self) -> None:
        with contextlib.suppress(tf.errors.OpError):  # all was flushed
            if self._file is not None:
                self._file.close()


def _start(directory: str) -> int:
    """Return the time for the name of a new file, in seconds, later than those of the others.

    TensorBoard reads files in the order of their names, and the clock may have been set back.
    """
    names = os.listdir(directory) if os.path.isdir(directory) else ()
    others = [int(match.group(1)) for match in map(NAME.match, names) if match]
    return max([int(time.time()), *(other + 1 for other in others)])

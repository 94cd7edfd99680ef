"""Files: the cache directory, atomic writes, json, locks, and progress while they are copied."""

import contextlib
import fcntl
import json
import os
import tempfile
from typing import Any, Callable, Dict, Iterator, Optional, Union

Content = Union[str, bytes]


def cache_dir() -> str:
    """Return the directory for downloads and virtual environments."""
    return os.path.expanduser(os.environ.get('PERMAFROST_CACHE') or '~/.cache/permafrost')


def write_atomically(path: str, content: Content) -> None:
    """Write `content` to a temporary file next to `path`, then rename it to `path`."""
    write_files_atomically({path: content})


def write_files_atomically(contents: Dict[str, Content]) -> None:
    """Write several files, {path: content}: all to temporary files first, then rename each."""
    temporary = {}
    try:
        for path, content in contents.items():
            folder, name = os.path.split(os.path.abspath(path))
            handle, temporary[path] = tempfile.mkstemp(dir=folder, prefix='.' + name)
            with os.fdopen(handle, 'wb') as stream:
                stream.write(content if isinstance(content, bytes) else content.encode())
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary[path], 0o644)
        for path in contents:
            os.replace(temporary[path], path)
            del temporary[path]
    finally:
        for path in temporary.values():
            os.unlink(path)


def json_text(value: Any) -> str:
    """Return `value` as indented json."""
    return json.dumps(value, indent=2, sort_keys=True) + '\n'


def write_json(path: str, value: Any) -> None:
    """Write `value` atomically as indented json."""
    write_atomically(path, json_text(value))


def read_json(path: str, default: Any = None) -> Any:
    """Return the value of a json file; `default` where the file is missing or is not json."""
    try:
        with open(path) as stream:
            return json.load(stream)
    except (FileNotFoundError, ValueError):
        return default


@contextlib.contextmanager
def locked(path: str, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; wait while another process holds it.

    `on_wait()` is called once before waiting; it may raise. The system releases the lock when the
    process ends, however it ends.
    """
    with open(path, 'a') as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class Progress:
    """Context that shows a progress bar on a terminal; in a log, a line every fifth of the way.

    `total` is the number of units to do, None if unknown; `log` is called with each line for the
    log; `unit` is 'B' for bytes, shown in MB, or the plural that follows a number.
    """

    def __init__(self, title: str, total: Optional[int], log: Callable[[str], None],
                 unit: str = 'B'):
        self._title, self._total, self._done, self._fifths = title, total, 0, 0
        self._log, self._unit = log, unit
        import tqdm
        self._bar = tqdm.tqdm(
            desc=title, total=total, unit=unit if unit == 'B' else ' ' + unit,
            unit_scale=unit == 'B', disable=None)  # None: unless on a terminal

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *unused: object) -> None:
        self._bar.close()

    def add(self, count: int) -> None:
        """Count `count` more units as done."""
        self._done += count
        self._bar.update(count)
        if self._bar.disable and self._total and self._done * 5 // self._total > self._fifths:
            self._fifths = self._done * 5 // self._total
            scale, unit = (10**6, 'MB') if self._unit == 'B' else (1, self._unit)
            self._log(f'{self._title}: {self._done // scale} of {self._total // scale} {unit}')

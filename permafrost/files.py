"""Files: the cache directory, atomic writes, json and locks."""

import collections
import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import secrets
import stat
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Tuple, Union

from permafrost.errors import printable

Content = Union[str, bytes]

# The errors of file systems that lack an operation (SMB, FUSE, NFS without its lock service).
UNSUPPORTED = (errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTTY, errno.EOPNOTSUPP)
MAX_JSON_BYTES = 64 * 10**6
MAX_JSON_ITEMS = 4 * 10**6  # lists, objects and ends of text: each takes about 60 bytes
STALE_SECS = 3600.  # no write of a file takes as long
_SUFFIX = '.tmp'


def cache_dir() -> str:
    """Return the directory for downloads and virtual environments."""
    return os.path.expanduser(os.environ.get('PERMAFROST_CACHE') or '~/.cache/permafrost')


def link_target(path: str) -> str:
    """Return the file that the link `path` leads to; `path` if it is none.

    Writing atomically to a link would replace it.
    """
    return os.path.realpath(path) if os.path.islink(path) else path


def write_atomically(path: str, content: Content) -> None:
    """Write `content` to a temporary file next to `path`, then rename it to `path`."""
    write_files_atomically({path: content})


def write_files_atomically(contents: Dict[str, Content]) -> None:
    """Write several files, {path: content}: all to temporary files first, then rename each."""
    temporary: Dict[str, str] = {}
    path = ''
    try:
        for path, content in contents.items():
            _check_replaceable(path)
            temporary[path] = _temporary_name(path)
            with open(temporary[path], 'xb') as stream:  # its permissions follow the umask
                stream.write(content if isinstance(content, bytes) else content.encode())
                stream.flush()
                _fsync(stream.fileno())
                _remove_leftovers(path, os.fstat(stream.fileno()).st_mtime)
        for path in contents:
            os.replace(temporary[path], path)
            del temporary[path]
    except OSError as error:
        names = {name: path for path, name in temporary.items()}
        # A failed write names no file, others a temporary one: the user knows `path`.
        error.filename = names.get(error.filename, error.filename) or path
        raise
    finally:
        for path in temporary.values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    for folder in {_folder(path) for path in contents}:
        sync(folder)


def _check_replaceable(path: str) -> None:
    """Raise OSError if `path` is a device, a pipe or a folder: renaming would replace it."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, 'not a regular file', path)


def _temporary_name(path: str) -> str:
    return os.path.join(_folder(path), f'{_prefix(path)}{secrets.token_hex(4)}{_SUFFIX}')


def _prefix(path: str) -> str:
    return f'.{os.path.basename(path)[:50]}.'


def _remove_leftovers(path: str, now: float) -> None:
    """Remove the temporary files of earlier writes of `path` that were killed.

    `now` is the time of the file system, which may not be this host's.
    """
    with contextlib.suppress(PermissionError):  # a folder to write into, but not to list
        for name in os.listdir(_folder(path)):
            if name.startswith(_prefix(path)) and name.endswith(_SUFFIX):
                leftover = os.path.join(_folder(path), name)
                with contextlib.suppress(OSError):  # another process has just removed it
                    if os.stat(leftover).st_mtime < now - STALE_SECS:
                        os.unlink(leftover)


def _folder(path: str) -> str:
    return os.path.dirname(os.path.abspath(path))


def sync(path: str) -> None:
    """Return when the content of a file, or the names in a folder, would survive a power cut."""
    with contextlib.suppress(PermissionError):  # it may be written, but not read
        handle = os.open(path, os.O_RDONLY)
        try:
            _fsync(handle)
        finally:
            os.close(handle)


def make_folder(path: str) -> None:
    """Create a folder and its parents, if they are missing, so that they survive a power cut."""
    if not os.path.isdir(_folder(path)):
        make_folder(_folder(path))
    os.makedirs(path, exist_ok=True)
    sync(_folder(path))


def _fsync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def json_text(value: Any) -> str:
    """Return `value` as indented json."""
    return json.dumps(value, indent=2, sort_keys=True) + '\n'


def write_json(path: str, value: Any) -> None:
    """Write `value` atomically as indented json."""
    write_atomically(path, json_text(value))


def read_json(path: str) -> Any:
    """Return the value of a json file. Raises OSError, or ValueError with the reason."""
    with open_regular(path) as stream:
        return parse_json(stream.read(MAX_JSON_BYTES + 1))


def safe_name(text: str) -> str:
    """Return `text` as part of a file name: one that no system refuses, of at most 160 bytes.

    Another text gives another name.
    """
    safe = re.sub(r'[/\\:*?"<>|]', '_', printable(text)).encode()[:150].decode('utf-8', 'ignore')
    # os.fsencode, for text may hold bytes that are not UTF-8
    return safe if safe == text else f'{safe}-{hashlib.sha256(os.fsencode(text)).hexdigest()[:8]}'


def open_regular(path: str) -> BinaryIO:
    """Open a file to read; raise OSError if it is a pipe or a device, which may never end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, 'not a regular file', path)
    return os.fdopen(handle, 'rb')


def parse_json(content: bytes) -> Any:
    """Return the value of json, which may be hostile. Raises ValueError with the reason."""
    num_items = sum(map(content.count, (b'[', b'{', b'"')))
    if len(content) > MAX_JSON_BYTES or num_items > MAX_JSON_ITEMS:
        raise ValueError(f'more than {MAX_JSON_BYTES // 10**6} MB, or {MAX_JSON_ITEMS} items')
    try:
        return json.loads(content.decode('utf-8-sig'), parse_int=_parse_int,
                          object_pairs_hook=_object)
    except RecursionError:
        raise ValueError('too many brackets in brackets') from None


def _parse_int(text: str) -> Union[int, float]:
    return int(text) if len(text) < 40 else float(text)  # int takes hours for a million digits


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        (name, _), = collections.Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f'{name[:40]!r} is there twice')
    return value


@contextlib.contextmanager
def locked(path: str, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; wait while another process holds it.

    `on_wait()` is called once before waiting; it may raise. The system releases the lock when the
    process ends, however it ends. Where the file system has no locks, a note says so.
    """
    with open(path, 'a') as stream:
        try:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            _note_missing_locks(_folder(path))
        yield


@functools.lru_cache(maxsize=None)  # once for each folder
def _note_missing_locks(folder: str) -> None:
    print(f'note: {printable(folder)} is on a file system without locks: make sure that no second '
          'process writes there', flush=True)


def is_locked(path: str) -> Optional[bool]:
    """Return whether a process of this host holds the lock `path`; None if it cannot be known."""
    try:
        with open(path) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return None

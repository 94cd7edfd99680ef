"""Packing that is interrupted, repeated, or runs out of space continues to the same bytes."""

import errno
import os
import signal

import pytest
from PIL import Image

from permafrost import files
from permafrost.datasets import loading, packing
from permafrost.datasets.images import image
from permafrost.errors import UserError
from tests import processes
from tests.datasets.helpers import contents, make_images, pack, read_manifest
from tests.environment import small_disk

SCRIPT = 'tools/make_tfrecords.py'


@pytest.fixture
def reference(images, small_shards, tmp_path):
    """The files of a dataset that was packed without interruptions, in `reference`."""
    pack(images[0], tmp_path / 'reference')
    return contents(tmp_path / 'reference')


class Reader:
    """Stands in for image.read; from the `limit`-th call on it raises `error`."""

    def __init__(self, limit, error):
        self.calls, self.limit, self.error, self.read = 0, limit, error, image.read

    def __call__(self, path, size):
        if self.calls >= self.limit:
            raise self.error
        self.calls += 1
        return self.read(path, size)


class Stopped(Exception):
    pass


@pytest.mark.parametrize('limit', [0, 7, 40, 89])
def test_an_interrupted_run_continues_to_the_same_bytes(images, reference, tmp_path, monkeypatch,
                                                        limit):
    out, reader = tmp_path / 'out', Reader(limit, Stopped())
    monkeypatch.setattr(image, 'read', reader)
    with pytest.raises(Stopped):
        pack(images[0], out)
    with pytest.raises(UserError, match='manifest.json: No such file'):
        loading.open_dataset(str(out))
    (out / '.train-00000-of-00005.tfrecord.ab12cd34.tmp').write_bytes(b'left by a kill')
    reader.calls, reader.limit = 0, 1000
    assert pack(images[0], out) == 0
    assert contents(out) == reference
    assert reader.calls <= 90 - limit + 15 + 10, 'finished shards are not packed again'


def test_memory_that_runs_out_does_not_make_an_image_bad(images, reference, tmp_path, monkeypatch):
    def fail(content):
        raise MemoryError

    out = tmp_path / 'out'
    with monkeypatch.context() as patched:
        patched.setattr(image, 'DECODERS', [(begin, fail) for begin, _ in image.DECODERS])
        with pytest.raises(UserError, match='^out of memory: run this again with fewer --threads'):
            pack(images[0], out)
    assert pack(images[0], out) == 0 and contents(out) == reference


def test_a_second_run_reads_no_images(images, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(image, 'read', None)
    assert pack(images[0], tmp_path / 'reference') == 0
    assert contents(tmp_path / 'reference') == reference


def test_files_with_a_transient_error_are_tried_again(images, reference, tmp_path, monkeypatch):
    out, error = tmp_path / 'out', OSError(errno.EIO, os.strerror(errno.EIO))
    with monkeypatch.context() as patched:
        patched.setattr(image, 'read', Reader(30, error))
        assert pack(images[0], out) == 1
    bad = read_manifest(out)['bad']
    assert len(bad) == 60 and set(bad.values()) == {os.strerror(errno.EIO)}
    assert pack(images[0], out) == 0
    assert contents(out) == reference


def test_changed_images_and_damaged_shards_are_packed_again(images, copied, reference, tmp_path):
    out = tmp_path / 'out'
    pack(copied, out)
    (out / 'train-00001-of-00005.tfrecord').write_bytes(b'damaged')
    pack(copied, out)
    assert contents(out) == reference
    Image.new('RGB', (30, 30), (1, 2, 3)).save(str(copied / images[1][2]))
    pack(copied, out)
    changed = {name for name, content in contents(out).items() if reference.get(name) != content}
    assert len(changed) == 2 and 'manifest.json' in changed


def test_shards_and_notes_of_an_earlier_packing_are_removed(images, reference, tmp_path):
    out = tmp_path / 'reference'
    (out / 'train-00007-of-00009.tfrecord').write_bytes(b'')
    pack(images[0], out, image_size=8, test_fraction=0)
    assert loading.open_dataset(str(out)).image_shape == (8, 8, 3)
    shards = {file['name'] for file in read_manifest(out)['files']}
    assert set(contents(out)) == shards | {'manifest.json'}
    assert set(os.listdir(str(out / packing.NOTES))) == {
        name + '.json' for name in shards} | {'lock'}


@pytest.mark.slow
@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143),
                                          (signal.SIGKILL, -9)])
def test_a_signal_stops_packing_and_the_next_run_continues(tmp_path, number, code):
    make_images(tmp_path / 'in', 1200, sizes=(40, 41))
    arguments = processes.command(SCRIPT, tmp_path / 'in', tmp_path / 'out', '--threads=2',
                                  '--image_size=128')  # which takes some time
    returncode, output = processes.interrupt(arguments, ' images', number)
    assert returncode == code and 'Traceback' not in output, output
    if number != signal.SIGKILL:
        assert 'run this again to continue' in output
    assert not (tmp_path / 'out/manifest.json').exists()
    processes.finish(arguments)
    assert pack(tmp_path / 'in', tmp_path / 'uninterrupted', 128, 0.1) == 0
    assert contents(tmp_path / 'out') == contents(tmp_path / 'uninterrupted')


def test_a_full_disk_is_reported_and_the_next_run_continues(images, small_shards, tmp_path,
                                                            monkeypatch):
    out, write_atomically, written = tmp_path / 'out', files.write_atomically, []

    def write(path, content):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        written.append(path)
        write_atomically(path, content)
    with monkeypatch.context() as patched:
        patched.setattr(files, 'write_atomically', write)
        with pytest.raises(UserError, match='No space left on device; fix that and run this'):
            pack(images[0], out)
    assert pack(images[0], out) == 0
    pack(images[0], tmp_path / 'uninterrupted')
    assert contents(out) == contents(tmp_path / 'uninterrupted')


def test_a_small_disk(tmp_path):
    make_images(tmp_path / 'in', 60)
    (tmp_path / 'out').mkdir()
    with small_disk(tmp_path / 'out', '60k'):
        with pytest.raises(UserError, match='No space left on device; fix that'):
            pack(tmp_path / 'in', tmp_path / 'out', image_size=32)


def test_a_second_process_is_refused(images, tmp_path):
    (tmp_path / 'out' / packing.NOTES).mkdir(parents=True)
    with files.locked(str(tmp_path / 'out' / packing.NOTES / 'lock'), pytest.fail):
        with pytest.raises(UserError, match='another process is packing'):
            pack(images[0], tmp_path / 'out')

"""CIFAR-100: its records, how its files are had, and all that is done with it, on synthetic
records.

The real archive is not needed: no test here reads one.
"""

import hashlib
import http.server
import io
import json
import os
import shutil
import tarfile
import threading

import numpy as np
import pytest

from permafrost.config import Config
from permafrost.datasets import download, loading, record_format, registry
from permafrost.errors import UsageError, UserError
from permafrost.export import freeze
from permafrost.recipes.recipe import Recipe
from tests import networks, processes


def write_records(directory, train, test, seed=0):
    """Writes train.bin and test.bin, the slow way; (Files with their sha1, {name: labels})."""
    random, files, labels = np.random.RandomState(seed), [], {}
    os.makedirs(str(directory), exist_ok=True)
    for name, split, count in (('train.bin', 'train', train), ('test.bin', 'test', test)):
        fine = random.permutation(np.arange(count) % 100)
        content = b''
        for label in fine:
            planes = random.randint(0, 60, (3, 1024)) + 2 * int(label) % 190
            content += bytes([label // 5, label]) + planes.astype(np.uint8).tobytes()
        with open(os.path.join(str(directory), name), 'wb') as stream:
            stream.write(content)
        files.append(registry.DataFile(name, split, count, hashlib.sha1(content).hexdigest()))
        labels[split] = fine
    return tuple(files), labels


@pytest.fixture
def small(tmp_path, monkeypatch):
    """(directory, labels) of a small data set that takes the place of CIFAR-100."""
    monkeypatch.setenv('PERMAFROST_CACHE', str(tmp_path / 'cache'))
    monkeypatch.delenv('PERMAFROST_DATA', raising=False)
    files, labels = write_records(tmp_path / 'set', 300, 200)
    monkeypatch.setattr(registry, 'CIFAR100_FILES', files)
    return tmp_path / 'set', labels


def test_the_published_files():
    wanted = registry.describe('cifar100')
    assert len(wanted.classes) == len(set(wanted.classes)) == 100
    assert list(wanted.classes) == sorted(wanted.classes)
    # of the canonical archive: 50,000 and 10,000 records of 3,074 bytes
    assert {(file.name, file.count * wanted.layout.size) for file in wanted.files} == {
        ('train.bin', 153700000), ('test.bin', 30740000)}


def test_the_fine_label_counts(small):
    opened = loading.open_dataset('cifar100', str(small[0]))
    assert opened.counts == {'train': 300, 'test': 200}
    images, labels = loading.load(opened, 'test')
    np.testing.assert_array_equal(labels, small[1]['test'])
    with open(str(small[0] / 'test.bin'), 'rb') as stream:
        content = stream.read()
    for row, column, channel in [(0, 0, 0), (0, 31, 1), (31, 0, 2), (5, 17, 1)]:
        assert images[3, row, column, channel] == content[
            3 * 3074 + 2 + channel * 1024 + row * 32 + column]


def test_damage_is_named(small):
    path = small[0] / 'train.bin'
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match='train.bin: corrupt, its sha1 .*data_set=cifar100'):
        loading.open_dataset('cifar100', str(small[0]))
    path.write_bytes(bytes(content[:-1]))
    with pytest.raises(UserError, match='train.bin: too short'):
        loading.open_dataset('cifar100', str(small[0]))


@pytest.fixture
def served(small):
    """(URL of an archive with the small data set, its requests) on a server of this test."""
    archive, asked = io.BytesIO(), []
    with tarfile.open(fileobj=archive, mode='w:gz') as members:
        for name, content in [('train.bin', None), ('test.bin', None),
                              ('fine_label_names.txt', b'\n'.join(
                                  name.encode() for name in registry.CIFAR100_CLASSES))]:
            content = content or (small[0] / name).read_bytes()
            member = tarfile.TarInfo('cifar-100-binary/' + name)
            member.size = len(content)
            members.addfile(member, io.BytesIO(content))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header('Content-Length', str(len(archive.getvalue())))
            self.end_headers()
            self.wfile.write(archive.getvalue())

        def log_message(self, *unused):
            pass
    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield 'http://127.0.0.1:%d/cifar-100-binary.tar.gz' % server.server_port, asked
    server.shutdown()
    server.server_close()


def test_the_archive_is_fetched_and_unpacked(small, served, tmp_path, monkeypatch):
    source, = download.SOURCES['cifar100']
    assert source.name.endswith('/cifar-100-binary.tar.gz')
    monkeypatch.setattr(source, 'name', served[0])
    directory = download.prepare(str(tmp_path / 'new'), name='cifar100')
    assert sorted(os.listdir(directory)) == ['test.bin', 'train.bin']
    for name in os.listdir(directory):
        assert (tmp_path / 'new' / name).read_bytes() == (small[0] / name).read_bytes()
    os.unlink(os.path.join(directory, 'test.bin'))
    download.prepare(directory, name='cifar100')
    assert served[1] == ['/cifar-100-binary.tar.gz'], 'the archive is kept'
    loading.open_dataset('cifar100', directory)


def test_a_corrupt_file_stays_until_it_is_replaced(small, tmp_path):
    directory = tmp_path / 'copy'
    shutil.copytree(str(small[0]), str(directory))
    content = b'x' + (directory / 'train.bin').read_bytes()[1:]
    (directory / 'train.bin').write_bytes(content)
    with pytest.raises(UserError, match='could not be had'):
        download.prepare(str(directory), sources=[], name='cifar100')
    assert (directory / 'train.bin').read_bytes() == content
    os.rename(str(directory / 'train.bin'), str(directory / 'train.bin.corrupt'))  # as if killed
    with pytest.raises(UserError, match='could not be had'):
        download.prepare(str(directory), sources=[], name='cifar100')
    assert (directory / 'train.bin').read_bytes() == content
    assert sorted(os.listdir(str(directory))) == ['test.bin', 'train.bin']


def test_what_cannot_be_read_is_replaced(small, served, tmp_path, monkeypatch):
    monkeypatch.setattr(download.SOURCES['cifar100'][0], 'name', served[0])
    directory = download.prepare(str(tmp_path / 'new'), name='cifar100')
    problem = loading.content_problem
    monkeypatch.setattr(loading, 'content_problem', lambda *arguments: (
        problem(*arguments) and 'train.bin: Input/output error'))
    with open(os.path.join(directory, 'train.bin'), 'r+b') as stream:
        stream.write(b'!')
    assert download.prepare(directory, name='cifar100') == directory
    assert sorted(os.listdir(directory)) == ['test.bin', 'train.bin']
    loading.open_dataset('cifar100', directory)


def test_when_it_cannot_be_had_the_way_by_hand_is_said(small, tmp_path):
    with pytest.raises(UserError) as caught:
        download.prepare(str(tmp_path / 'new'), sources=[], name='cifar100')
    for part in ('CIFAR-100 could not be had', 'unpack cifar-100-binary.tar.gz so that train.bin, '
                 'test.bin lie in', 'make data ARGS=--data_set=cifar100'):
        assert part in str(caught.value)
    assert 'npm' not in str(caught.value)
    with pytest.raises(UsageError, match='did you mean cifar100'):
        download.prepare(name='cifar1000')


def test_missing_files_say_what_to_run(tmp_path):
    output = processes.finish(processes.command(
        'train.py', '--data_set=cifar100', '--data_dir=%s' % tmp_path, '--steps=1',
        '--log_dir=%s' % (tmp_path / 'runs')), 1)
    assert 'train.bin: missing; run `make data ARGS=--data_set=cifar100`' in output


def test_info_counts_a_hundred_classes():
    output = processes.finish(processes.command('info.py', '--model=tuto', '--data_set=cifar100',
                                                '--json', '--layers'))
    model, = json.loads(output[output.index('['):])
    assert model['layers'][-1]['output_shape'] == [100]
    assert model['layers'][-1]['params'] == 192 * 100 + 100


def test_training_and_freezing_have_its_classes(small, tmp_path):
    opened, run = loading.open_dataset('cifar100', str(small[0])), str(tmp_path / 'run')
    with networks.registered():
        networks.train(opened, run, 4)
        found = freeze.freeze(run, None, output=str(tmp_path / 'x.pb'))
    assert found['classes'] == list(registry.CIFAR100_CLASSES) and found['images'] == 200
    assert 0 <= found['correct'] <= 200 and found['accuracy'] == found['correct'] / 200


def test_batches_have_its_labels(small):
    """From both sources; the layout of CIFAR-100 in the graph against that in numpy."""
    import tensorflow.compat.v1 as tf
    from permafrost.inputs import pipeline
    opened = loading.open_dataset('cifar100', str(small[0]))
    known = {image.tobytes(): label for image, label in zip(*loading.load(opened, 'train'))}
    assert opened.layout == record_format.CIFAR100
    recipe = Recipe('test', 32, batch_size=25)
    for source in pipeline.SOURCES:
        settings = Config('tuto', recipe, 100, source=source)
        with tf.Graph().as_default():
            step = tf.train.get_or_create_global_step()
            images, labels = pipeline.SOURCES[source](opened, recipe.batch_size, settings.seed,
                                                    step, (0, 1))[:2]
            with tf.train.MonitoredTrainingSession() as session:
                for _ in range(4):
                    found, truth = session.run([images, labels])
                    assert [known[image.tobytes()] for image in found] == truth.tolist()

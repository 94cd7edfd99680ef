"""Packing image folders: what is packed, which files are reported, and interruptions."""

import errno
import json
import os
import pty
import shutil
import signal
import subprocess
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from permafrost import files
from permafrost.datasets import image_files, loading, packing
from permafrost.errors import UserError
from permafrost.evaluation import evaluator
from permafrost.export import freeze
from tests import in_process, processes
from tests.datasets.helpers import CLASSES, break_files, contents, make_images

SCRIPT = 'tools/make_tfrecords.py'


def pack(directory, output, image_size=16, test_fraction=0.25, threads=1):
    return packing.pack(str(directory), str(output), image_size, test_fraction, threads)


def read_manifest(output):
    return json.loads((output / 'manifest.json').read_text())


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """(directory, relative paths) of 90 images, which no test changes."""
    directory = tmp_path_factory.mktemp('images')
    return directory, make_images(directory, 90)


@pytest.fixture
def copied(images, tmp_path):
    """A copy of them to change."""
    shutil.copytree(str(images[0]), str(tmp_path / 'in'))
    return tmp_path / 'in'


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(packing, 'SHARD_IMAGES', 15)


# The dataset


def test_every_image_is_packed_with_its_label(images, small_shards, tmp_path, capsys):
    directory, paths = images
    assert pack(directory, tmp_path / 'out') == 0
    dataset = loading.open_dataset(str(tmp_path / 'out'))
    assert dataset.classes == ('blue', 'green', 'red') and sum(dataset.counts.values()) == 90
    assert 10 <= dataset.counts['test'] <= 35 and len(dataset.splits['train']) > 3
    packed = {}
    for split in ('train', 'test'):
        for image, label in zip(*loading.load(dataset, split)):
            packed[image.tobytes()] = label
    assert packed == {image_files.read(str(directory / path), 16).tobytes(): i % 3
                      for i, path in enumerate(paths)}
    assert 'packed: 90 images of 3 classes, 16x16' in capsys.readouterr().out


def test_the_manifest_has_counts_and_statistics(images, small_shards, tmp_path):
    pack(images[0], tmp_path / 'out')
    manifest, dataset = read_manifest(tmp_path / 'out'), loading.open_dataset(str(tmp_path / 'out'))
    train, labels = loading.load(dataset, 'train')
    assert manifest['counts'] == dataset.counts and manifest['bad'] == {}
    assert manifest['counts_per_class']['train'] == np.bincount(labels).tolist()
    np.testing.assert_allclose(manifest['mean'], train.mean((0, 1, 2)) / 255, atol=1e-6)
    np.testing.assert_allclose(manifest['std'], train.std((0, 1, 2)) / 255, atol=1e-6)
    assert str(images[0]) not in json.dumps(manifest), 'a dataset can be published'


def test_every_shard_mixes_the_classes(images, small_shards, tmp_path):
    """The stream source shuffles the records of only a few files at a time."""
    pack(images[0], tmp_path / 'out', test_fraction=0)
    dataset = loading.open_dataset(str(tmp_path / 'out'))
    for path in dataset.splits['train']:
        count = os.path.getsize(path) // dataset.record_format.record_bytes
        shard = dataset._replace(splits={'train': [path]}, counts={'train': count})
        assert len(set(loading.load(shard, 'train')[1])) == 3


def test_without_held_out_images_a_note_is_printed(images, tmp_path, capsys):
    pack(images[0], tmp_path / 'out', test_fraction=0)
    assert 'note: no images are held out' in capsys.readouterr().out


def test_bytes_do_not_depend_on_threads_or_place(images, copied, small_shards, tmp_path):
    pack(images[0], tmp_path / 'one')
    for path in images[1]:
        os.utime(str(copied / path), (1, 1))
    pack(copied, tmp_path / 'two', threads=3)
    assert contents(tmp_path / 'one') == contents(tmp_path / 'two')


# Bad files


def test_bad_files_are_reported_and_the_others_packed(images, copied, small_shards, tmp_path,
                                                      capsys, monkeypatch):
    out = tmp_path / 'out'
    reasons = break_files(copied, images[1][::9])
    assert len(reasons) == 10 and pack(copied, out) == 1
    bad = read_manifest(out)['bad']
    assert set(bad) == set(reasons)
    stderr = capsys.readouterr().err
    for path, reason in reasons.items():
        assert reason in bad[path] and f'bad: {path}: {bad[path]}\n' in stderr
    assert '10 files could not be used' in stderr
    before = contents(out)
    with monkeypatch.context() as patched:
        patched.setattr(image_files, 'read', None)  # known bad files are not read again
        assert pack(copied, out) == 1
    assert capsys.readouterr().err.count('bad: ') == 10 and contents(out) == before
    assert sum(loading.open_dataset(str(out)).counts.values()) == 80
    for path in reasons:  # repaired files are packed
        shutil.copy(str(images[0] / path), str(copied / path))
    assert pack(copied, out) == 0
    pack(images[0], tmp_path / 'uninterrupted')
    assert contents(out) == contents(tmp_path / 'uninterrupted')


def test_ignored_files_are_counted_in_the_report(copied, tmp_path, capsys):
    (copied / '.DS_Store').write_text('words')
    assert pack(copied, tmp_path / 'out') == 0
    assert 'ignored: 1 hidden' in capsys.readouterr().out


def test_links_and_odd_names_are_bad_files(copied, tmp_path):
    (copied / 'red/loop').symlink_to('../red')
    (copied / 'red/self.png').symlink_to('self.png')
    (copied / 'red/gone.jpg').symlink_to('nowhere.jpg')
    (copied / 'red/line\nbreak\x1b[31m.png').write_bytes(b'words')
    assert pack(copied, tmp_path / 'out') == 1
    manifest = read_manifest(tmp_path / 'out')
    assert manifest['bad'] == {
        'red/loop': 'a symbolic link to a folder that contains it',
        'red/self.png': os.strerror(errno.ELOOP), 'red/gone.jpg': os.strerror(errno.ENOENT),
        'red/line\\nbreak\\x1b[31m.png': 'not a PNG, JPEG or BMP image'}
    assert sum(manifest['counts'].values()) == 90


def test_a_directory_of_bad_files_is_refused(tmp_path):
    for path in make_images(tmp_path / 'in', 6):
        (tmp_path / 'in' / path).write_bytes(b'')
    with pytest.raises(UserError, match='no images to train on: none can be used, such as'):
        pack(tmp_path / 'in', tmp_path / 'out')
    with pytest.raises(UserError, match='manifest.json: No such file'):
        loading.open_dataset(str(tmp_path / 'out'))


# Wrong arguments


def test_wrong_directories_are_named(images, tmp_path):
    directory, out = images[0], tmp_path / 'out'
    (tmp_path / 'file').write_text('x')
    (tmp_path / 'other/red').mkdir(parents=True)
    for source, target, problem in [
            (tmp_path / 'none', out, 'none: no such directory'),
            (directory, directory / 'out', 'choose an output directory elsewhere'),
            (directory, tmp_path / 'file', 'Not a directory; fix that'),
            (directory, tmp_path / 'other', 'holds other files, such as red'),
            (directory, tmp_path / 'file/out', 'Not a directory; fix that')]:
        with pytest.raises(UserError) as caught:
            pack(source, target)
        assert problem in str(caught.value) and '\n' not in str(caught.value)
    assert not out.exists(), 'a mistake leaves nothing behind'


@pytest.mark.parametrize('arguments, code, problem', [
    ([], 2, 'give a directory of class folders'),
    (['in'], 2, 'python tools/make_tfrecords.py DIR OUT'),
    (['in', 'out', 'surplus'], 2, "unexpected argument 'surplus'"),
    (['in', 'out', '--image_size=0'], 2, 'image_size'),
    (['in', 'out', '--imagesize=3'], 2, 'imagesize'),
    (['in', 'out', '--test_fraction=2'], 2, 'test_fraction'),
    (['/none', 'out'], 1, '/none: no such directory')])
def test_a_wrong_command_line_is_refused_in_one_line(arguments, code, problem):
    result = in_process.run(SCRIPT, *arguments)
    assert result.code == code and not result.stdout
    assert result.stderr.startswith('error: ') and problem in result.stderr
    assert result.stderr.count('\n') == 1


# Interruptions


@pytest.fixture
def reference(images, small_shards, tmp_path):
    """The files of a dataset that was packed without interruptions, in `reference`."""
    pack(images[0], tmp_path / 'reference')
    return contents(tmp_path / 'reference')


class Reader:
    """Stands in for image_files.read; from the `limit`-th call on it raises `error`."""

    def __init__(self, limit, error):
        self.calls, self.limit, self.error, self.read = 0, limit, error, image_files.read

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
    monkeypatch.setattr(image_files, 'read', reader)
    with pytest.raises(Stopped):
        pack(images[0], out)
    with pytest.raises(UserError, match='manifest.json: No such file'):
        loading.open_dataset(str(out))
    (out / '.train-00000-of-00005.tfrecordab12').write_bytes(b'left by a kill')
    reader.calls, reader.limit = 0, 1000
    assert pack(images[0], out) == 0
    assert contents(out) == reference
    assert reader.calls <= 90 - limit + 15 + 10, 'finished shards are not packed again'


def test_a_second_run_reads_no_images(images, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, 'read', None)
    assert pack(images[0], tmp_path / 'reference') == 0
    assert contents(tmp_path / 'reference') == reference


def test_files_with_a_transient_error_are_tried_again(images, reference, tmp_path, monkeypatch):
    out, error = tmp_path / 'out', OSError(errno.EIO, os.strerror(errno.EIO))
    with monkeypatch.context() as patched:
        patched.setattr(image_files, 'read', Reader(30, error))
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
    arguments = processes.command(SCRIPT, tmp_path / 'in', tmp_path / 'out', '--threads=2')
    returncode, output = processes.interrupt(arguments, ' images', number)
    assert returncode == code and 'Traceback' not in output, output
    if number != signal.SIGKILL:
        assert 'run this again to continue' in output
    assert not (tmp_path / 'out/manifest.json').exists()
    processes.finish(arguments)
    assert pack(tmp_path / 'in', tmp_path / 'uninterrupted', 32, 0.1) == 0
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
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=60k', 'tmpfs', str(tmp_path / 'out')]
    if subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip('mounting a small tmpfs needs root')
    try:
        with pytest.raises(UserError, match='No space left on device; fix that'):
            pack(tmp_path / 'in', tmp_path / 'out', image_size=32)
    finally:
        subprocess.check_call(['umount', str(tmp_path / 'out')])


def test_a_second_process_is_refused(images, tmp_path):
    (tmp_path / 'out' / packing.NOTES).mkdir(parents=True)
    with files.locked(str(tmp_path / 'out' / packing.NOTES / 'lock'), pytest.fail):
        with pytest.raises(UserError, match='another process is packing'):
            pack(images[0], tmp_path / 'out')


# The script


def test_bad_files_are_named_by_the_script_and_progress_is_logged(tmp_path):
    reasons = break_files(tmp_path / 'in', make_images(tmp_path / 'in', 100)[7::10])
    output = processes.finish(processes.command(SCRIPT, tmp_path / 'in', tmp_path / 'out',
                                                '--image_size=28'), 1)
    lines = [line for line in output.splitlines() if line.startswith('bad: ')]
    assert len(lines) == len(reasons) == 10
    for path, reason in reasons.items():
        assert [line for line in lines if line.startswith(f'bad: {path}: ') and reason in line]
    assert 'packed: 90 images of 3 classes, 28x28' in output
    assert output.count('packing: ') == 5 and 'packing: 100 of 100 images' in output
    dataset = loading.open_dataset(str(tmp_path / 'out'))
    assert dataset.classes == tuple(CLASSES) and dataset.image_shape == (28, 28, 3)


def test_progress_on_a_terminal_is_a_bar(images, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        processes.command(SCRIPT, images[0], tmp_path / 'out', '--threads=1'),
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b''
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(60) == 0 and b'90/90' in shown and b'\r' in shown


# Runs on packed datasets


class TrainedRun(NamedTuple):
    run: str
    dataset: loading.Dataset
    graph: str  # the frozen graph


@pytest.fixture(scope='module')
def trained(images, tmp_path_factory):
    """A run on the packed images, trained through the stream source and frozen."""
    folder = tmp_path_factory.mktemp('trained')
    run, graph = str(folder / 'run'), str(folder / 'x.pb')
    pack(images[0], folder / 'set', image_size=28)
    for arguments in (['train.py', '--model=squeeze1', f'--dataset={folder}/set', '--steps=60',
                       '--source=stream', '--set=batch_size=32', '--set=ema_decay=0'],
                      ['freeze_graph.py', f'--output={graph}']):
        result = in_process.run(*arguments, f'--run={run}')
        assert result.code == 0, result
    return TrainedRun(run, loading.open_dataset(str(folder / 'set')), graph)


def test_evaluation_and_freezing_use_the_test_images(trained):
    run, dataset, graph = trained
    result = in_process.run('eval.py', f'--run={run}', f'--dataset={dataset.directory}')
    assert f'of {dataset.counts["test"]} test images' in result.stdout
    assert '  green' in result.stdout
    with open(run + '/config.json') as stream, open(graph[:-3] + '.json') as frozen_stream:
        config, frozen = json.load(stream), json.load(frozen_stream)
    assert config['classes'] == frozen['classes'] == CLASSES
    assert config['dataset_identity'] == dataset.identity
    assert dataset.identity in frozen.values() and 'set' in frozen.values()
    assert frozen['image_shape'] == [28, 28, 3]
    with open(run + '/eval/test/metrics.jsonl') as stream:
        metrics = json.loads(stream.readlines()[-1])
    assert metrics['correct'] == frozen['correct'] and metrics['accuracy'] > 0.5
    result = in_process.run('eval.py', f'--graph={graph}', f'--dataset={dataset.directory}')
    assert f'{metrics["correct"]} of {metrics["images"]} test' in result.stdout


@pytest.mark.parametrize('script', ['eval.py', 'freeze_graph.py'])
def test_another_dataset_than_that_of_the_run_is_refused(trained, script):
    result = in_process.run(script, f'--run={trained.run}', '--dataset=cifar10')
    assert result.code == 2
    assert 'this run was trained on set, not on cifar10: leave --dataset out' in result.stderr


def test_a_run_notices_a_moved_or_changed_dataset(trained, tmp_path, capsys):
    dataset, run = tmp_path / 'set', tmp_path / 'run'
    shutil.copytree(trained.run, str(run))
    shutil.copytree(trained.dataset.directory, str(dataset))

    def output_of_evaluator(**options):
        with evaluator.Evaluator(str(run), None, **options):
            return capsys.readouterr().out
    assert output_of_evaluator() == '', 'found next to the run'
    os.rename(str(dataset), str(tmp_path / 'elsewhere'))
    with pytest.raises(UserError, match=f'{dataset}/manifest.json: No such file'):
        output_of_evaluator()
    assert output_of_evaluator(data_dir=str(tmp_path / 'elsewhere')) == ''
    make_images(tmp_path / 'other', 60, seed=1)  # other images in the same place
    pack(tmp_path / 'other', dataset, image_size=28)
    capsys.readouterr()
    assert f'note: {dataset} has changed since {run} was started' in output_of_evaluator()
    result = in_process.run('train.py', f'--run={run}', '--resume', '--model=squeeze1',
                            '--steps=70')
    assert result.code == 1 and 'has changed since' in result.stderr
    assert 'start another run' in result.stderr
    shutil.rmtree(str(tmp_path / 'other/red'))
    pack(tmp_path / 'other', dataset, image_size=28)
    with pytest.raises(UserError, match=r'was trained on 3 classes \(blue, green, red\)'):
        output_of_evaluator()
    with pytest.raises(UserError, match='was trained on 3 classes'):
        freeze.freeze(str(run), None, output=str(tmp_path / 'x.pb'))

"""Packing image folders: what is packed, and which files and arguments are refused."""

import errno
import json
import os
import pty
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from permafrost.datasets import loading
from permafrost.datasets.images import image
from permafrost.errors import UserError
from tests import in_process, processes
from tests.datasets.helpers import CLASSES, break_files, contents, make_images, pack, read_manifest
from tests.datasets.images.crafted import REFUSED, crafted_files

SCRIPT = 'tools/make_tfrecords.py'


def test_every_image_is_packed_with_its_label(images, small_shards, tmp_path, capsys):
    directory, paths = images
    assert pack(directory, tmp_path / 'out') == 0
    dataset = loading.open_dataset(str(tmp_path / 'out'))
    assert dataset.classes == ('blue', 'green', 'red') and sum(dataset.counts.values()) == 90
    assert 10 <= dataset.counts['test'] <= 35 and len(dataset.splits['train']) > 3
    packed = {}
    for split in ('train', 'test'):
        for pixels, label in zip(*loading.load(dataset, split)):
            packed[pixels.tobytes()] = label
    assert packed == {image.read(str(directory / path), 16).tobytes(): i % 3
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
    printed = capsys.readouterr().out
    assert 'note: no images are held out, so the accuracy stays unknown: set --test_frac' in printed
    assert 'split: by hash, --test_fraction=0\n' in printed


def test_without_class_folders_in_test_the_note_says_so(images, tmp_path, capsys):
    shutil.copytree(str(images[0]), str(tmp_path / 'in/train'))
    (tmp_path / 'in/test').mkdir()
    shutil.copy(str(images[0] / images[1][0]), str(tmp_path / 'in/test/0.png'))
    pack(tmp_path / 'in', tmp_path / 'out')
    printed = capsys.readouterr().out
    assert 'so the accuracy stays unknown: put class folders into test\n' in printed
    assert 'split: by the folders train and test\n' in printed


def test_files_of_the_user_are_not_deleted(images, tmp_path):
    pack(images[0], tmp_path / 'out')
    backup = tmp_path / 'out/train-00000-of-00001.tfrecord.bak'
    backup.write_text('words')
    with pytest.raises(UserError, match='holds other files, such as train-00000-of-00001.tfrecord'):
        pack(images[0], tmp_path / 'out')
    kept = [tmp_path / 'out' / name for name in ('.my-train-00000-of-00009.tfrecord',
                                                 '.packing/train-00000-of-00009.tfrecord.bak')]
    backup.unlink()
    for path in kept:
        path.write_text('words')
    pack(images[0], tmp_path / 'out')
    assert all(path.exists() for path in kept)


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
    assert 'files that could not be used, see above: 10' in stderr
    before = contents(out)
    with monkeypatch.context() as patched:
        patched.setattr(image, 'read', None)  # known bad files are not read again
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
    assert 'ignored: hidden: 1' in capsys.readouterr().out


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
    with pytest.raises(UserError, match='no images to train on: no file could be used'):
        pack(tmp_path / 'in', tmp_path / 'out')
    with pytest.raises(UserError, match='manifest.json: No such file'):
        loading.open_dataset(str(tmp_path / 'out'))


# Messages


def test_many_classes_without_test_images_are_one_line(tmp_path, capsys):
    for i in range(40):
        (tmp_path / 'in' / f'class{i:02d}').mkdir(parents=True)
        Image.new('RGB', (8, 8), (i, i, i)).save(str(tmp_path / 'in' / f'class{i:02d}' / 'x.png'))
    assert pack(tmp_path / 'in', tmp_path / 'out', 8, 0.4) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith('note: ')]
    assert len(notes) == 2
    for note, split in zip(notes, ('train', 'test')):
        assert note.startswith(f'note: classes without {split} images: ')
        assert ' of 40: class' in note and note.endswith(', ...')


def test_names_of_classes_are_escaped(copied, tmp_path, capsys):
    os.rename(str(copied / 'red'), str(copied / 'red\x1b[31m\n'))
    pack(copied, tmp_path / 'out')
    assert read_manifest(tmp_path / 'out')['classes'] == ['blue', 'green', 'red\\x1b[31m\\n']
    assert '\x1b' not in ''.join(capsys.readouterr())


@pytest.mark.filterwarnings('error')
def test_no_warning_of_a_decoder_is_printed(tmp_path):
    for name, (content, verdict) in crafted_files().items():
        folder = tmp_path / 'in' / ('good' if verdict is not REFUSED else 'bad')
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    Image.new('RGB', (8, 8)).save(str(tmp_path / 'in/bad/fine.png'))
    assert pack(tmp_path / 'in', tmp_path / 'out') == 1
    assert not [path for path in read_manifest(tmp_path / 'out')['bad'] if path.startswith('good')]


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
    (['in', 'out', '--test_fraction=nan'], 2, '--test_fraction=nan must be a number from 0 to'),
    (['/none', 'out'], 1, '/none: no such directory')])
def test_a_wrong_command_line_is_refused_in_one_line(arguments, code, problem):
    result = in_process.run(SCRIPT, *arguments)
    assert result.code == code and not result.stdout
    assert result.stderr.startswith('error: ') and problem in result.stderr
    assert result.stderr.count('\n') == 1


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

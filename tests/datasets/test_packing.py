"""tools/make_tfrecords.py: what is packed, what is named, and that interruptions change nothing."""

import errno
import json
import os
import pty
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from permafrost.datasets import image_files, image_folder, loading, packing
from permafrost.errors import UserError
from tests import processes
from tests.datasets.test_image_files import huge_png

CLASSES = ['blue', 'green', 'red']
COLOURS = {'red': (200, 60, 60), 'green': (60, 200, 60), 'blue': (60, 60, 200)}
ENDINGS = ['png', 'jpg', 'bmp']


def make_images(directory, count, seed=0, sizes=(20, 60)):
    """Writes noisy images of three classes, in class folders; their relative paths in order."""
    random = np.random.RandomState(seed)
    paths = []
    for i in range(count):
        name = CLASSES[i % 3]
        path = os.path.join(name, '%04d.%s' % (i, ENDINGS[i // 3 % 3]))
        os.makedirs(os.path.join(str(directory), name), exist_ok=True)
        height, width = random.randint(sizes[0], sizes[1], 2)
        pixels = np.array(COLOURS[name]) + random.normal(0, 30, (height, width, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
            os.path.join(str(directory), path))
        paths.append(path)
    return paths


def break_files(directory, paths):
    """Damages the files, each in one of five ways; {path: what should be said of it}."""
    said = {}
    for i, path in enumerate(paths):
        whole = os.path.join(str(directory), path)
        if i % 5 == 0:
            os.truncate(whole, os.path.getsize(whole) // 2)
            said[path] = ''  # each decoder has words of its own
        else:
            content, said[path] = [
                (b'some words\n', 'not a PNG, JPEG or BMP image'), (b'', 'the file is empty'),
                (huge_png(70000, 70000), 'larger than the limit of 100 megapixels'),
                (huge_png(3000, 3000), 'truncated')][i % 5 - 1]
            with open(whole, 'wb') as stream:
                stream.write(content)
    return said


def pack(directory, output, image_size=16, test_fraction=0.25, workers=1):
    return packing.pack(str(directory), str(output), image_size, test_fraction, workers)


def contents(output):
    """{name: bytes} of a data set, without the notes of its making."""
    return {name: (output / name).read_bytes() for name in os.listdir(str(output))
            if name != packing.NOTES}


def manifest(output):
    return json.loads((output / 'manifest.json').read_text())


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """(directory, relative paths) of 90 images."""
    directory = tmp_path_factory.mktemp('images')
    return directory, make_images(directory, 90)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(packing, 'SHARD_IMAGES', 15)


def test_what_is_packed(images, small_shards, tmp_path, capsys):
    directory, paths = images
    assert pack(directory, tmp_path / 'out') == 0
    opened = loading.open_dataset(str(tmp_path / 'out'))
    assert opened.classes == ('blue', 'green', 'red') and sum(opened.counts.values()) == 90
    assert 10 <= opened.counts['test'] <= 35 and len(opened.splits['train']) > 3
    found = {}
    for split in ('train', 'test'):
        for image, label in zip(*loading.load(opened, split)):
            found[image.tobytes()] = label
    assert found == {image_files.read(str(directory / path), 16).tobytes(): i % 3
                     for i, path in enumerate(paths)}
    assert 'packed: 90 images of 3 classes, 16x16' in capsys.readouterr().out


def test_manifest_counts_and_statistics(images, small_shards, tmp_path):
    pack(images[0], tmp_path / 'out')
    value, opened = manifest(tmp_path / 'out'), loading.open_dataset(str(tmp_path / 'out'))
    train, labels = loading.load(opened, 'train')
    assert value['counts'] == opened.counts and value['bad'] == {}
    assert value['counts_per_class']['train'] == np.bincount(labels).tolist()
    np.testing.assert_allclose(value['mean'], train.mean((0, 1, 2)) / 255, atol=1e-6)
    np.testing.assert_allclose(value['std'], train.std((0, 1, 2)) / 255, atol=1e-6)
    assert str(images[0]) not in json.dumps(value), 'a data set can be published'


def test_shards_are_mixed(images, small_shards, tmp_path):
    """The stream source draws among the records of few files at a time."""
    pack(images[0], tmp_path / 'out', test_fraction=0)
    opened = loading.open_dataset(str(tmp_path / 'out'))
    for path in opened.splits['train']:
        part = opened._replace(splits={'train': [path]}, counts={
            'train': os.path.getsize(path) // opened.layout.size})
        assert len(set(loading.load(part, 'train')[1])) == 3


def test_what_is_held_out_stays_so_when_images_are_added(images, tmp_path):
    def test_set(directory):
        return {item.path for item in image_folder.scan(str(directory), 0.25).items['test']}
    before = test_set(images[0])
    shutil.copytree(str(images[0]), str(tmp_path / 'more'))
    for path in images[1]:
        shutil.copy(str(images[0] / path), str(tmp_path / 'more' / os.path.dirname(path)
                                               / ('more' + os.path.basename(path))))
    after = test_set(tmp_path / 'more')
    assert before < after and {p for p in after if 'more' not in p} == before
    assert image_folder.scan(str(images[0]), 0).items['test'] == []


def test_train_and_test_folders_are_the_splits(images, tmp_path, capsys):
    directory, paths = images
    for number, path in enumerate(paths):
        target = tmp_path / 'in' / ('test' if number % 10 < 3 else 'train') / path
        os.makedirs(os.path.dirname(str(target)), exist_ok=True)
        shutil.copy(str(directory / path), str(target))
    (tmp_path / 'in/val').mkdir()
    pack(tmp_path / 'in', tmp_path / 'out')
    assert 'ignored: 1 beside train and test, such as val' in capsys.readouterr().out
    opened = loading.open_dataset(str(tmp_path / 'out'))
    assert opened.counts == {'train': 63, 'test': 27} and len(opened.classes) == 3
    (tmp_path / 'in/test/purple').mkdir()
    shutil.copy(str(directory / paths[0]), str(tmp_path / 'in/test/purple'))
    with pytest.raises(UserError, match='class purple in test and none in train'):
        pack(tmp_path / 'in', tmp_path / 'out')


def test_bytes_do_not_depend_on_processes_or_place(images, small_shards, tmp_path):
    pack(images[0], tmp_path / 'one')
    shutil.copytree(str(images[0]), str(tmp_path / 'copy'))
    for path in images[1]:
        os.utime(str(tmp_path / 'copy' / path), (1, 1))
    pack(tmp_path / 'copy', tmp_path / 'two', workers=3)
    assert contents(tmp_path / 'one') == contents(tmp_path / 'two')


# What cannot be used


def test_bad_files_are_named_and_the_others_packed(images, small_shards, tmp_path, capsys,
                                                   monkeypatch):
    shutil.copytree(str(images[0]), str(tmp_path / 'in'))
    said = break_files(tmp_path / 'in', images[1][::9])
    assert len(said) == 10 and pack(tmp_path / 'in', tmp_path / 'out') == 1
    bad = manifest(tmp_path / 'out')['bad']
    assert set(bad) == set(said)
    err = capsys.readouterr().err
    for path, reason in said.items():
        assert reason in bad[path] and 'bad: %s: %s\n' % (path, bad[path]) in err
    assert '10 files could not be used' in err
    before = contents(tmp_path / 'out')
    with monkeypatch.context() as patched:
        patched.setattr(image_files, 'read', None)  # what is known to be bad is not read again
        assert pack(tmp_path / 'in', tmp_path / 'out') == 1
    assert capsys.readouterr().err.count('bad: ') == 10 and contents(tmp_path / 'out') == before
    opened = loading.open_dataset(str(tmp_path / 'out'))
    assert sum(opened.counts.values()) == 80
    # mended, they are taken in
    for path in said:
        shutil.copy(str(images[0] / path), str(tmp_path / 'in' / path))
    assert pack(tmp_path / 'in', tmp_path / 'out') == 0
    pack(images[0], tmp_path / 'whole')
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')


def test_what_is_not_meant_as_an_image_is_only_counted(images, tmp_path, capsys):
    shutil.copytree(str(images[0]), str(tmp_path / 'in'))
    for name in ('README.md', '.DS_Store', 'red/labels.csv', 'red/._0002.png', 'stray.png'):
        (tmp_path / 'in' / name).write_text('words')
    (tmp_path / 'in/empty').mkdir()
    (tmp_path / 'in/.git').mkdir()
    (tmp_path / 'in/red/deeper').mkdir()
    os.rename(str(tmp_path / 'in' / images[1][2]), str(tmp_path / 'in/red/deeper/x.PNG'))
    assert pack(tmp_path / 'in', tmp_path / 'out') == 0
    out = capsys.readouterr().out
    for line in ('ignored: 3 hidden', 'ignored: 2 outside of class folders',
                 'ignored: 1 no image by their names', 'ignored: 1 folders without an image',
                 'packed: 90 images of 3 classes'):
        assert line in out


def test_links_and_other_formats(images, tmp_path):
    directory = tmp_path / 'in'
    shutil.copytree(str(images[0]), str(directory))
    (directory / 'red/loop').symlink_to('../red')
    (directory / 'red/self.png').symlink_to('self.png')
    (directory / 'red/gone.jpg').symlink_to('nowhere.jpg')
    (directory / 'red/photo.webp').write_bytes(b'RIFF')
    (directory / 'red/line\nbreak\x1b[31m.png').write_bytes(b'words')
    (directory / 'yellow').symlink_to('blue')  # a linked folder is a class like another
    assert pack(directory, tmp_path / 'out') == 1
    value = manifest(tmp_path / 'out')
    assert value['classes'] == ['blue', 'green', 'red', 'yellow']
    assert value['bad'] == {
        'red/loop': 'a symbolic link to a folder that it is in',
        'red/self.png': os.strerror(errno.ELOOP), 'red/gone.jpg': os.strerror(errno.ENOENT),
        'red/photo.webp': 'a webp image: save it as PNG, JPEG or BMP',
        'red/line\\nbreak\\x1b[31m.png': 'not a PNG, JPEG or BMP image'}
    assert sum(value['counts'].values()) == 120


def _error(*arguments):
    """The one line with which the script refuses; it must exit 1."""
    output = processes.finish(processes.command('tools/make_tfrecords.py', *arguments), 1)
    lines = [line for line in output.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, output
    return lines[0]


def test_wrong_directories_are_answered(images, tmp_path):
    directory, out = str(images[0]), tmp_path / 'out'
    (tmp_path / 'file').write_text('x')
    (tmp_path / 'bare').mkdir()
    (tmp_path / 'flat').mkdir()
    shutil.copy(str(images[0] / images[1][0]), str(tmp_path / 'flat'))
    shutil.copytree(directory, str(tmp_path / 'one'))
    for name in ('green', 'blue'):
        shutil.rmtree(str(tmp_path / 'one' / name))
    for name in ('Train', 'val'):
        shutil.copytree(str(tmp_path / 'one' / 'red'), str(tmp_path / 'splits' / name / 'red'))
    for source, target, said in [
            (tmp_path / 'none', out, 'none: no such directory'),
            (tmp_path / 'file', out, 'file: not a directory'),
            (tmp_path / 'bare', out, 'has no class folders with PNG, JPEG or BMP images'),
            (tmp_path / 'flat', out, 'has no class folders'),
            (tmp_path / 'one', out, 'has one class, red'),
            (tmp_path / 'splits', out, 'has the folders Train, val, which look like splits'),
            (directory, os.path.join(directory, 'out'), 'name an output elsewhere'),
            (directory, tmp_path / 'file', 'file: not a directory; name another output'),
            (directory, tmp_path / 'one', 'holds other files, such as red'),
            (directory, tmp_path / 'file/out', 'cannot write to')]:
        with pytest.raises(UserError) as caught:
            pack(source, target)
        assert said in str(caught.value) and '\n' not in str(caught.value)
    assert not os.path.exists(str(out)), 'a mistake leaves nothing behind'
    assert 'none: no such directory' in _error(tmp_path / 'none', out)


@pytest.mark.parametrize('arguments, said', [
    ([], 'name the directory of class folders'), (['in'], 'python tools/make_tfrecords.py DIR OUT'),
    (['in', 'out', 'more'], "unexpected argument 'more'"),
    (['in', 'out', '--image_size=0'], 'image_size'), (['in', 'out', '--imagesize=3'], 'imagesize'),
    (['in', 'out', '--test_fraction=2'], 'test_fraction')])
def test_usage(arguments, said):
    output = processes.finish(processes.command('tools/make_tfrecords.py', *arguments), 2)
    assert said in output and output.count('\n') == 1


def test_nothing_but_bad_files(tmp_path):
    paths = make_images(tmp_path / 'in', 6)
    for path in paths:
        (tmp_path / 'in' / path).write_bytes(b'')
    with pytest.raises(UserError, match='no image to train on is left: none could be used'):
        pack(tmp_path / 'in', tmp_path / 'out')
    with pytest.raises(UserError, match='it has no manifest.json'):
        loading.open_dataset(str(tmp_path / 'out'))


# Interruptions


@pytest.fixture
def reference(images, small_shards, tmp_path):
    pack(images[0], tmp_path / 'reference')
    return contents(tmp_path / 'reference')


class Stopped(Exception):
    pass


@pytest.mark.parametrize('reads', [0, 7, 40, 89])
def test_stopped_anywhere_it_goes_on_to_the_same_bytes(images, reference, tmp_path, monkeypatch,
                                                       reads):
    out, whole, left = tmp_path / 'out', image_files.read, [reads]

    def read(path, side):
        if not left[0]:
            raise Stopped()
        left[0] -= 1
        return whole(path, side)
    monkeypatch.setattr(image_files, 'read', read)
    with pytest.raises(Stopped):
        pack(images[0], out)
    with pytest.raises(UserError, match='it has no manifest.json'):
        loading.open_dataset(str(out))
    (out / '.train-00000-of-00005.tfrecordab12').write_bytes(b'left by a kill')
    left[0] = 1000
    assert pack(images[0], out) == 0
    assert contents(out) == reference
    assert 1000 - left[0] <= 90 - reads + 15 + 10, 'whole shards are not made again'


def test_a_second_run_reads_nothing(images, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, 'read', None)
    assert pack(images[0], tmp_path / 'reference') == 0
    assert contents(tmp_path / 'reference') == reference


def test_files_that_could_not_be_read_for_a_while(images, reference, tmp_path, monkeypatch):
    out, whole, left = tmp_path / 'out', image_files.read, [30]

    def read(path, side):
        left[0] -= 1
        if left[0] < 0:
            raise image_files.BadImage('Input/output error', passing=True)
        return whole(path, side)
    with monkeypatch.context() as patched:
        patched.setattr(image_files, 'read', read)
        assert pack(images[0], out) == 1
    assert len(manifest(out)['bad']) == 60
    assert pack(images[0], out) == 0
    assert contents(out) == reference


def test_what_changed_is_made_again(images, reference, tmp_path):
    out, directory = tmp_path / 'reference', tmp_path / 'in'
    shutil.copytree(str(images[0]), str(directory))
    shutil.rmtree(str(out))
    pack(directory, out)
    assert contents(out) == reference
    (out / 'train-00001-of-00005.tfrecord').write_bytes(b'damaged')
    pack(directory, out)
    assert contents(out) == reference
    path = directory / images[1][2]
    Image.new('RGB', (30, 30), (1, 2, 3)).save(str(path))
    pack(directory, out)
    changed = {name for name, content in contents(out).items() if reference.get(name) != content}
    assert len(changed) == 2 and 'manifest.json' in changed
    pack(directory, out, image_size=8)
    assert loading.open_dataset(str(out)).image_shape == (8, 8, 3)
    assert not [name for name in contents(out) if name.endswith('of-00005.tfrecord')
                and name not in [f['name'] for f in manifest(out)['files']]]


@pytest.mark.slow
@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143),
                                          (signal.SIGKILL, -9)])
def test_signals(tmp_path, number, code):
    """A real process with its workers: stopped, it says how to go on; nothing is left running."""
    make_images(tmp_path / 'in', 1200, sizes=(40, 41))
    arguments = processes.command('tools/make_tfrecords.py', tmp_path / 'in', tmp_path / 'out',
                                  '--processes=2')
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, universal_newlines=True,
                               start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    lines = []
    for line in process.stdout:
        lines.append(line)
        if ' images' in line:
            break
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as Ctrl-C does
    else:
        process.send_signal(number)
    output = ''.join(lines) + process.communicate(timeout=120)[0]
    assert process.returncode == code and 'Traceback' not in output, output
    if number != signal.SIGKILL:
        assert 'run this again to go on' in output
    assert not (tmp_path / 'out/manifest.json').exists()
    end = time.time() + 60
    while _group(process.pid):
        assert time.time() < end, 'workers outlive their parent'
        time.sleep(0.1)
    processes.finish(arguments)
    assert pack(tmp_path / 'in', tmp_path / 'whole', 32, 0.1) == 0
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')


def _group(leader):
    """Whether any process of the group is alive."""
    try:
        os.killpg(leader, 0)
        return True
    except ProcessLookupError:
        return False


def test_a_full_disk_is_said_and_mended(images, small_shards, tmp_path, monkeypatch):
    out, whole, written = tmp_path / 'out', packing.files.write_atomically, []

    def write(path, content):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        written.append(path)
        whole(path, content)
    monkeypatch.setattr(packing.files, 'write_atomically', write)
    with pytest.raises(UserError, match='No space left on device; mend that and run this'):
        pack(images[0], out)
    monkeypatch.setattr(packing.files, 'write_atomically', whole)
    assert pack(images[0], out) == 0
    pack(images[0], tmp_path / 'whole')
    assert contents(out) == contents(tmp_path / 'whole')


def test_a_small_disk(tmp_path):
    make_images(tmp_path / 'in', 60)
    (tmp_path / 'out').mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=60k', 'tmpfs', str(tmp_path / 'out')]
    if subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip('mounting a small tmpfs needs root')
    try:
        line = _error(tmp_path / 'in', tmp_path / 'out', '--processes=1')
        assert 'No space left on device; mend that' in line
    finally:
        subprocess.check_call(['umount', str(tmp_path / 'out')])


def test_two_at_a_time(images, tmp_path):
    with packing._alone(str(tmp_path / 'out')):
        with pytest.raises(UserError, match='another process is packing'):
            pack(images[0], tmp_path / 'out')


def die(*unused):
    os._exit(3)


def test_a_worker_that_dies_is_said(monkeypatch):
    monkeypatch.setattr(packing, '_read_some', die)
    with pytest.raises(UserError, match='a process that decoded images died'):
        list(packing._read_all(['x'] * 20, 16, 2))


def test_progress_on_a_terminal_is_a_bar_and_in_a_log_lines(images, tmp_path):
    arguments = processes.command('tools/make_tfrecords.py', images[0], tmp_path / 'out',
                                  '--processes=1')
    output = processes.finish(arguments)
    assert output.count('packing: ') == 5 and 'packing: 90 of 90 images' in output
    shutil.rmtree(str(tmp_path / 'out'))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b''
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(60) == 0 and b'90/90' in shown and b'\r' in shown

"""A directory of images, some of them broken, from packing to predictions in C++."""

import collections
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image

from permafrost.datasets import image_files, image_folder, loading, packing
from permafrost.errors import UserError
from permafrost.evaluation import evaluator, graph_def
from permafrost.export import freeze
from tests import processes
from tests.datasets.test_packing import CLASSES, break_files, make_images
from tests.datasets.test_image_files import MODES, colours

tf.disable_v2_behavior()
tf.enable_resource_variables()

LABEL_IMAGE = os.path.join(processes.ROOT, 'label_image')
Work = collections.namedtuple('Work', 'folder said output')


@pytest.fixture(scope='module')
def program():
    """program(*flags): what label_image, on the engine of the tests, prints as json."""
    subprocess.run(['flock', LABEL_IMAGE, 'make', '-s', '-C', LABEL_IMAGE], check=True)

    def run(*flags):
        done = subprocess.run(
            [os.path.join(LABEL_IMAGE, 'build', 'label_image'), '--library=' + sys.prefix, '--json']
            + [str(flag) for flag in flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return run


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    """1,000 images, 20 of them broken, in `in` of the folder; packed as `set`."""
    folder = tmp_path_factory.mktemp('packed')
    said = break_files(folder / 'in', make_images(folder / 'in', 1000)[7::50])
    output = processes.finish(processes.command(
        'tools/make_tfrecords.py', folder / 'in', folder / 'set', '--image_size=28'), 1)
    return Work(folder, said, output)


@pytest.fixture(scope='module')
def run(work):
    """A run of squeeze1 on it, from TFRecords through the stream source."""
    path = str(work.folder / 'run')
    processes.finish(processes.command(
        'train.py', '--model=squeeze1', '--data_set=%s' % (work.folder / 'set'), '--steps=40',
        '--source=stream', '--set=batch_size=32', '--set=average_decay=0', '--run=' + path))
    return path


@pytest.fixture(scope='module')
def graph(run, work):
    path = str(work.folder / 'x.pb')
    processes.finish(processes.command('freeze_graph.py', '--run=' + run, '--output=' + path,
                                       '--data_set=%s' % (work.folder / 'set')))
    return path


def read_json(path):
    with open(str(path)) as stream:
        return json.load(stream)


def test_980_are_packed_and_20_named(work):
    opened = loading.open_dataset(str(work.folder / 'set'))
    assert sum(opened.counts.values()) == 980 and opened.image_shape == (28, 28, 3)
    named = [line for line in work.output.splitlines() if line.startswith('bad: ')]
    assert len(named) == len(work.said) == 20
    for path, reason in work.said.items():
        assert [line for line in named if line.startswith('bad: %s: ' % path) and reason in line]
    assert 'packed: 980 images of 3 classes, 28x28' in work.output


def test_eval_and_freeze_count_the_test_images(work, run, graph):
    opened = loading.open_dataset(str(work.folder / 'set'))
    output = processes.finish(processes.command(
        'eval.py', '--run=' + run, '--data_set=%s' % (work.folder / 'set')))
    assert 'of %d test images' % opened.counts['test'] in output and '  green' in output
    extra, frozen_json = read_json(run + '/config.json'), read_json(graph[:-3] + '.json')
    assert extra['classes'] == frozen_json['classes'] == CLASSES
    assert extra['data_set_identity'] == frozen_json['data_set_identity'] == opened.identity
    assert frozen_json['image_shape'] == [28, 28, 3] and frozen_json['data_set'] == 'set'
    with open(run + '/eval/test/metrics.jsonl') as stream:
        figures = json.loads(stream.readlines()[-1])
    assert figures['correct'] == frozen_json['correct'] and figures['accuracy'] > 0.5
    for script in ('eval.py', 'freeze_graph.py'):
        output = processes.finish(processes.command(
            script, '--run=' + run, '--data_set=cifar10'), 2)
        assert 'this run was trained on set, not on cifar10: leave --data_set out' in output
    output = processes.finish(processes.command(
        'eval.py', '--graph=' + graph, '--data_set=%s' % (work.folder / 'set')))
    assert '%d of %d test' % (figures['correct'], figures['images']) in output


def test_shards_are_evaluated_in_cpp(work, graph, program):
    opened = loading.open_dataset(str(work.folder / 'set'))
    expected = read_json(graph[:-3] + '.json')
    answer = program('--graph=' + graph, *['--batch_file=' + p for p in opened.splits['test']])
    assert answer['labels'] == CLASSES
    assert (answer['images'], answer['correct']) == (expected['images'], expected['correct'])
    both = opened.splits['train'] + opened.splits['test']
    answer = program('--graph=' + graph, *['--batch_file=' + path for path in both])
    assert answer['images'] == 980
    assert program('--graph=' + graph, '--limit=50', *['--batch_file=' + p for p in both])[
        'images'] == 50


def test_predictions_on_the_files_are_those_on_the_packed_images(work, graph, program):
    """The very decoding, crop and size: what is in the shard is what label_image sees."""
    images, _ = loading.load(loading.open_dataset(str(work.folder / 'set')), 'test')
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph_def.read_graph(graph), name='')
        expected = session.run('probabilities:0', {'images:0': images})
    items = [item for item in image_folder.scan(str(work.folder / 'in'), 0.1).items['test']
             if item.path not in work.said]
    assert len(items) == len(images) and {os.path.splitext(item.path)[1] for item in items} == {
        '.png', '.jpg', '.bmp'}
    answer = program('--graph=' + graph, '--top=3',
                     *[work.folder / 'in' / item.path for item in items])
    found = np.array([[dict((top['label'], top['probability']) for top in image['top'])[name]
                       for name in CLASSES] for image in answer['images']])
    # JPEG decoders of two versions may differ by a level or two
    np.testing.assert_allclose(found, expected, atol=5e-3)


@pytest.fixture(scope='module')
def pixels_graph(tmp_path_factory):
    """A graph of 16x16 images whose "probabilities" tell their pixels: means of four columns."""
    with tf.Graph().as_default() as made:
        images = tf.placeholder(tf.uint8, [None, 16, 16, 3], name='images')
        rows = tf.reshape(tf.cast(images, tf.float32), [-1, 4, 64, 3])
        tf.identity(tf.reshape(tf.reduce_mean(rows, 2), [-1, 12]) / 32, name='predictions')
        tf.constant(list('abcdefghijkl'), name='labels')
    path = tmp_path_factory.mktemp('graph') / 'pixels.pb'
    path.write_bytes(made.as_graph_def().SerializeToString())
    return str(path)


def test_cpp_decodes_every_mode_and_orientation_alike(program, pixels_graph, tmp_path):
    paths = []
    for mode, ending in MODES:
        for size in ((16, 16), (41, 70)):
            paths.append(str(tmp_path / ('%s-%d.%s' % (mode, size[0], ending))))
            Image.fromarray(colours(*size)).convert(mode).save(paths[-1])
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        paths.append(str(tmp_path / ('turned-%d.jpg' % orientation)))
        Image.fromarray(colours(41, 70)).save(paths[-1], exif=exif.tobytes())
    answer = program('--graph=' + pixels_graph, '--top=12', *paths)
    for path, image in zip(paths, answer['images']):
        logits = image_files.read(path, 16).astype(float).reshape(4, 64, 3).mean(1).reshape(12) / 32
        powers = np.exp(logits - logits.max())
        expected = dict(zip('abcdefghijkl', powers / powers.sum()))
        found = {top['label']: top['probability'] for top in image['top']}
        assert found == pytest.approx(expected, abs=5e-3), path


def test_cifar100_files_are_evaluated_in_cpp(program, tmp_path):
    """Two label bytes, the second of which counts; that is not guessed but hinted at."""
    with tf.Graph().as_default() as made:
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        first = tf.cast(images[:, 0, 0, 0], tf.int32)
        tf.identity(tf.one_hot(first, 100), name='predictions')
    (tmp_path / 'x.pb').write_bytes(made.as_graph_def().SerializeToString())
    fine = np.arange(100)
    content = b''.join(bytes([label // 5, label]) + bytes([label if label % 4 else 0])
                       + bytes(3071) for label in fine)
    (tmp_path / 'test.bin').write_bytes(content)
    flags = ['--graph=%s' % (tmp_path / 'x.pb'), '--batch_file=%s' % (tmp_path / 'test.bin')]
    answer = program('--label_bytes=2', *flags)
    assert (answer['images'], answer['correct']) == (100, 76)  # 75, and the 0 among the others
    with pytest.raises(AssertionError, match='not whole records.*give --label_bytes=2'):
        program(*flags)


def test_moved_and_changed_data_are_said(work, run, tmp_path, capsys):
    """A run finds its data beside it; elsewhere --data_dir says where; what changed is said."""
    for name in ('run', 'set'):
        shutil.copytree(str(work.folder / name), str(tmp_path / name))
    copied = str(tmp_path / 'run')

    def said(**options):
        with evaluator.Evaluator(copied, None, **options):
            return capsys.readouterr().out
    assert said() == ''
    os.rename(str(tmp_path / 'set'), str(tmp_path / 'elsewhere'))
    with pytest.raises(UserError, match='%s: no such directory' % (tmp_path / 'set')):
        said()
    assert said(data_dir=str(tmp_path / 'elsewhere')) == ''
    # other images under the same name
    make_images(tmp_path / 'other', 90)
    packing.pack(str(tmp_path / 'other'), str(tmp_path / 'set'), 28, 0.1, 1)
    capsys.readouterr()
    assert 'note: %s has changed since %s was started' % (tmp_path / 'set', copied) in said()
    output = processes.finish(processes.command(
        'train.py', '--run=' + copied, '--resume', '--model=squeeze1', '--steps=50'), 1)
    assert 'has changed since' in output and 'start another run' in output
    shutil.rmtree(str(tmp_path / 'other' / 'red'))
    packing.pack(str(tmp_path / 'other'), str(tmp_path / 'set'), 28, 0.1, 1)
    with pytest.raises(UserError, match=r'was trained on 3 classes \(blue, green, red\)'):
        said()
    with pytest.raises(UserError, match='was trained on 3 classes'):
        freeze.freeze(copied, None, output=str(tmp_path / 'x.pb'))

"""Packed datasets, CIFAR-100 and image files: the C++ program sees what Python sees."""

import json
import os
from typing import Dict, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image

from permafrost.datasets import image_folder, loading, packing
from permafrost.datasets.images import image as images
from permafrost.evaluation.frozen_graphs import graph_def
from tests import in_process
from tests.datasets.helpers import CLASSES, MODES, break_files, make_images, smooth_colours
from tests.label_image.program import OWN, softmax


class Packed(NamedTuple):
    folder: str  # of the image files
    bad: Dict[str, str]  # path -> part of the reason
    dataset: loading.Dataset
    graph: str  # frozen from a training on the dataset


@pytest.fixture(scope='module')
def packed(tmp_path_factory):
    """A dataset of 300 images, of which 20 were damaged, and a model trained on it."""
    folder = tmp_path_factory.mktemp('packed')
    bad = break_files(folder / 'in', make_images(folder / 'in', 300)[7::15])
    assert packing.pack(str(folder / 'in'), str(folder / 'set'), 28, 0.2, threads=2) == 1
    graph = str(folder / 'x.pb')
    for arguments in (['train.py', '--model=squeeze1', f'--dataset={folder}/set', '--steps=40',
                       '--set=batch_size=32', '--set=ema_decay=0'],
                      ['freeze_graph.py', f'--output={graph}']):
        result = in_process.run(*arguments, f'--run={folder}/run')
        assert result.code == 0, result
    return Packed(str(folder / 'in'), bad, loading.open_dataset(str(folder / 'set')), graph)


@pytest.fixture
def answer(program):
    """answer(*flags): the json that the program prints."""
    return lambda *flags: json.loads(program(OWN, '--json', *flags))


def test_shards_are_evaluated(packed, answer):
    with open(packed.graph[:-3] + '.json') as stream:
        expected = json.load(stream)
    splits = packed.dataset.splits
    result = answer('--graph=' + packed.graph, *['--batch_file=' + p for p in splits['test']])
    assert result['labels'] == CLASSES
    assert (result['images'], result['correct']) == (expected['images'], expected['correct'])
    flags = ['--graph=' + packed.graph]
    flags += ['--batch_file=' + path for path in splits['train'] + splits['test']]
    assert answer(*flags)['images'] == 280
    assert answer('--limit=50', *flags)['images'] == 50


def test_predictions_on_files_equal_those_on_packed_images(packed, answer):
    """Decoding, crop and resizing agree."""
    images, _ = loading.load(packed.dataset, 'test')
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph_def.read_graph(packed.graph), name='')
        expected = session.run('probabilities:0', {'images:0': images})
    paths = [item.path for item in image_folder.scan(packed.folder, 0.2).items['test']
             if item.path not in packed.bad]
    assert len(paths) == len(images)
    assert {os.path.splitext(path)[1] for path in paths} == {'.png', '.jpg', '.bmp'}
    result = answer('--graph=' + packed.graph, '--top=3',
                    *[os.path.join(packed.folder, path) for path in paths])
    probabilities = np.array([
        [{top['label']: top['probability'] for top in image['top']}[name] for name in CLASSES]
        for image in result['images']])
    # JPEG decoders of two versions may differ by a level or two
    np.testing.assert_allclose(probabilities, expected, atol=5e-3)


@pytest.fixture(scope='module')
def pixels_graph(tmp_path_factory):
    """A graph of 16x16 images whose logits are means of their pixels, over four columns."""
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.uint8, [None, 16, 16, 3], name='images')
        rows = tf.reshape(tf.cast(images, tf.float32), [-1, 4, 64, 3])
        tf.identity(tf.reshape(tf.reduce_mean(rows, 2), [-1, 12]) / 32, name='predictions')
        tf.constant(list('abcdefghijkl'), name='labels')
    path = tmp_path_factory.mktemp('graph') / 'pixels.pb'
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return str(path)


def test_every_mode_and_orientation_is_decoded_like_in_python(answer, pixels_graph, tmp_path):
    paths = []
    for mode, extension in MODES:
        for size in ((16, 16), (41, 70)):
            paths.append(str(tmp_path / f'{mode}-{size[0]}.{extension}'))
            Image.fromarray(smooth_colours(*size)).convert(mode).save(paths[-1])
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        paths.append(str(tmp_path / f'turned-{orientation}.jpg'))
        Image.fromarray(smooth_colours(41, 70)).save(paths[-1], exif=exif.tobytes())
    result = answer('--graph=' + pixels_graph, '--top=12', *paths)
    for path, image in zip(paths, result['images']):
        rows = images.read(path, 16).astype(float).reshape(4, 64, 3)
        expected = dict(zip('abcdefghijkl', softmax(rows.mean(1).reshape(12) / 32)))
        probabilities = {top['label']: top['probability'] for top in image['top']}
        assert probabilities == pytest.approx(expected, abs=5e-3), path


def test_cifar100_files_need_label_bytes(answer, error_line, tmp_path):
    """The second of two label bytes is used; their number is not guessed."""
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        first = tf.cast(images[:, 0, 0, 0], tf.int32)
        tf.identity(tf.one_hot(first, 100), name='predictions')
    (tmp_path / 'x.pb').write_bytes(graph.as_graph_def().SerializeToString())
    (tmp_path / 'test.bin').write_bytes(b''.join(
        bytes([label // 5, label, label if label % 4 else 0]) + bytes(3071)
        for label in range(100)))
    flags = [f'--graph={tmp_path}/x.pb', f'--batch_file={tmp_path}/test.bin']
    result = answer('--label_bytes=2', *flags)
    assert (result['images'], result['correct']) == (100, 76)  # 75, and 0 of the others
    assert '--label_bytes=2' in error_line(1, OWN, *flags)

"""Evaluation of files of labelled images."""

import json
import os
import subprocess

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tests.label_image.program import (
    ENGINES,
    LABELS,
    OWN,
    PREPROCESSING,
    PROGRAM,
    TUTO,
    execute,
    library,
    softmax,
    write_graph,
)


@pytest.mark.parametrize('engine', ENGINES)
def test_foreign_graph_is_as_accurate_as_ours(program, engine, foreign_graph, cifar10):
    flags = ['--batch_file', os.path.join(cifar10.directory, 'test_batch.bin'), '--limit=1000',
             '--json', library(engine)]
    ours = json.loads(program('--graph=' + TUTO, *flags))
    foreign = json.loads(program('--graph=' + foreign_graph, *PREPROCESSING, *flags))
    assert foreign['images'] == 1000
    assert 700 < foreign['correct'] and abs(foreign['correct'] - ours['correct']) <= 1
    confusion = np.array(foreign['confusion'])
    assert confusion.sum() == 1000 and confusion.trace() == foreign['correct']
    assert abs(confusion.sum(1) - np.array(ours['confusion']).sum(1)).max() == 0


def test_metrics_and_predictions_equal_numpy(program, graph, tmp_path):
    images = np.random.RandomState(3).randint(0, 256, (53, 32, 32, 3)).astype(np.uint8)
    images[:, :, :, 1] //= 2
    labels = np.arange(53) % 3
    records = [bytes([label]) + image.transpose(2, 0, 1).tobytes()
               for label, image in zip(labels, images)]
    (tmp_path / 'batch.bin').write_bytes(b''.join(records))
    predictions = tmp_path / 'predictions.txt'
    predictions.symlink_to(tmp_path / 'target.txt')  # the target is written, the link stays
    flags = ['--graph=' + graph, OWN, '--batch_file', tmp_path / 'batch.bin']
    answer = json.loads(program(*flags, '--batch_size=10', '--predictions', predictions, '--json'))
    expected = softmax(images.astype(float).mean((1, 2)) / 32)
    rows = np.array([line.split() for line in predictions.read_text().splitlines()], float)
    assert predictions.is_symlink()
    assert (rows[:, 0] == np.arange(53)).all() and (rows[:, 1] == labels).all()
    assert (rows[:, 2] == expected.argmax(1)).all()
    np.testing.assert_allclose(rows[:, 3:], expected, atol=1e-5)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (labels, expected.argmax(1)), 1)
    assert answer['confusion'] == confusion.tolist() and answer['labels'] == LABELS
    assert answer['correct'] == confusion.trace() and answer['images'] == 53
    few = json.loads(program(*flags, '--limit=7', '--json'))
    assert (few['images'], few['batch_size']) == (7, 7)
    name, totals = program(*flags).splitlines()[:2]
    assert name == 'graph: ' + graph
    assert totals.startswith(f'{confusion.trace()} of 53 images correct')


def test_a_wrong_label_is_named_with_its_file(error_line, graph, tmp_path):
    (tmp_path / 'good.bin').write_bytes(bytes(5 * 3073))
    (tmp_path / 'bad.bin').write_bytes(bytes(2 * 3073) + b'\x4d' + bytes(3072))
    line = error_line(1, '--graph=' + graph, OWN, '--batch_file', tmp_path / 'good.bin',
                      '--batch_file', tmp_path / 'bad.bin')
    assert line == (f'label_image: {tmp_path}/bad.bin: image 2 has the label 77, but {graph} has '
                    'only 3 classes: give the graph of this dataset\n')


def test_predictions_go_to_stderr(program, graph, tmp_path):
    """To that of the user: the program keeps what libraries write to its own."""
    (tmp_path / 'batch.bin').write_bytes(bytes(2 * 3073))
    process = execute(PROGRAM, '--graph=' + graph, OWN, f'--batch_file={tmp_path}/batch.bin',
                      '--predictions=/dev/stderr')
    assert process.returncode == 0
    assert [line.split()[0] for line in process.stderr.splitlines()] == ['0', '1']


def test_the_matrix_is_aligned_by_characters(program, graph, tmp_path):
    (tmp_path / 'labels').write_text('grün\n猫\nblue\n', encoding='utf-8')
    (tmp_path / 'batch.bin').write_bytes(bytes(3073))
    *_, first, second, third = program(
        '--graph=' + graph, OWN, f'--batch_file={tmp_path}/batch.bin',
        f'--labels={tmp_path}/labels').splitlines()
    assert first.startswith('  grün ') and second.startswith('  猫 ')
    assert len(first) == len(second) == len(third)


def test_predictions_that_cannot_be_written_do_not_lose_the_accuracy(program, graph, tmp_path):
    (tmp_path / 'batch.bin').write_bytes(bytes(2 * 3073))
    process = execute(PROGRAM, '--graph=' + graph, OWN, f'--batch_file={tmp_path}/batch.bin',
                      '--predictions', tmp_path / 'none' / 'p')
    assert process.returncode == 1
    assert process.stderr == f'label_image: {tmp_path}/none/p: No such file or directory\n'
    assert ' of 2 images correct' in process.stdout


def test_wrong_class_names_end_it_before_all_images_are_classified(error_line, graph, tmp_path):
    (tmp_path / 'labels').write_text('one\ntwo\n')
    (tmp_path / 'batch.bin').write_bytes(bytes(3073) + bytes([77]) + bytes(3072))
    line = error_line(1, '--graph=' + graph, OWN, f'--batch_file={tmp_path}/batch.bin',
                      f'--labels={tmp_path}/labels')
    assert f'{tmp_path}/labels: 2 labels for 3 classes' in line  # else: the label 77


@pytest.mark.parametrize('classes', [1000, 1001])
def test_a_large_confusion_matrix_is_left_out(program, tmp_path, classes):
    def build():
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3], name='images')
        column = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2, 3])[:, None]
        tf.identity(column * np.eye(1, classes, 3, np.float32), name='predictions')
    labels = bytes([3, 3, 4])
    (tmp_path / 'batch.bin').write_bytes(b''.join(
        labels[i:i + 1] + bytes([255]) * 3072 for i in range(3)))  # all are of class 3
    flags = ['--graph=' + write_graph(tmp_path / 'a.pb', build), OWN,
             f'--batch_file={tmp_path}/batch.bin']
    answer = json.loads(program(*flags, '--json'))
    assert (answer['correct'], len(answer['labels'])) == (2, classes)
    assert ('confusion' in answer) == (classes == 1000)
    rows = [line.split() for line in program(*flags).splitlines()[-classes:]]
    assert rows[3:5] == [['3', '100.00', '%'], ['4', '0.00', '%']]


def test_predictions_and_metrics_go_to_one_file(program, graph, tmp_path):
    (tmp_path / 'batch.bin').write_bytes(bytes(3 * 3073))
    with open(str(tmp_path / 'out.txt'), 'w') as stream:
        code = subprocess.call(
            [PROGRAM, '--graph=' + graph, OWN, f'--batch_file={tmp_path / "batch.bin"}',
             '--predictions=/dev/stdout', '--json'], stdout=stream, timeout=570)
    assert code == 0
    *lines, metrics = (tmp_path / 'out.txt').read_text().splitlines()
    assert [line.split()[0] for line in lines] == ['0', '1', '2']
    assert json.loads(metrics)['images'] == 3

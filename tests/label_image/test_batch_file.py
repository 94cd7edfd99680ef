"""Evaluating a file of CIFAR-10's format."""

import json
import os
import subprocess

import numpy as np
import pytest

from tests.label_image.program import (
    ENGINES, FED, LABELS, OWN, PROGRAM, library, needs_third_party, softmax)


@pytest.mark.parametrize('engine', ENGINES)
def test_third_party_graph_gets_its_published_count(program, engine, cifar10):
    needs_third_party()
    path = os.path.join(cifar10.directory, 'test_batch.bin')
    answer = json.loads(program(*FED, library(engine), '--batch_file=' + path, '--json'))
    assert answer['images'] == 10000 and abs(answer['correct'] - 8557) <= 3
    confusion = np.array(answer['confusion'])
    assert (confusion.sum(1) == 1000).all() and confusion.trace() == answer['correct']


def test_batch_file_equals_python(program, graph, tmp_path):
    images = np.random.RandomState(3).randint(0, 256, (53, 32, 32, 3)).astype(np.uint8)
    images[:, :, :, 1] //= 2
    truth = np.arange(53) % 3
    records = [bytes([label]) + image.transpose(2, 0, 1).tobytes()
               for label, image in zip(truth, images)]
    (tmp_path / 'batch.bin').write_bytes(b''.join(records))
    lines = tmp_path / 'lines.txt'
    lines.symlink_to(tmp_path / 'target.txt')  # written to, not replaced
    answer = json.loads(program('--graph=' + graph, OWN, '--batch_file', tmp_path / 'batch.bin',
                                '--batch_size=10', '--predictions', lines, '--json'))
    want = softmax(images.astype(float).mean((1, 2)) / 32)
    rows = np.array([line.split() for line in lines.read_text().splitlines()], float)
    assert lines.is_symlink()
    assert (rows[:, 0] == np.arange(53)).all() and (rows[:, 1] == truth).all()
    assert (rows[:, 2] == want.argmax(1)).all()
    np.testing.assert_allclose(rows[:, 3:], want, atol=1e-5)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (truth, want.argmax(1)), 1)
    assert answer['confusion'] == confusion.tolist() and answer['labels'] == LABELS
    assert answer['correct'] == confusion.trace() and answer['images'] == 53
    short = json.loads(program('--graph=' + graph, OWN, '--batch_file', tmp_path / 'batch.bin',
                               '--limit=7', '--json'))
    assert short['images'] == 7
    text = program('--graph=' + graph, OWN, '--batch_file', tmp_path / 'batch.bin')
    assert text.startswith('%d of 53 images correct' % confusion.trace())


def test_predictions_and_figures_go_to_one_file(program, graph, tmp_path):
    (tmp_path / 'batch.bin').write_bytes(bytes(3 * 3073))
    with open(str(tmp_path / 'out.txt'), 'w') as stream:
        done = subprocess.run(
            [PROGRAM, '--graph=' + graph, OWN, '--batch_file=%s' % (tmp_path / 'batch.bin'),
             '--predictions=/dev/stdout', '--json'], stdout=stream, timeout=570)
    assert done.returncode == 0
    *lines, figures = (tmp_path / 'out.txt').read_text().splitlines()
    assert [line.split()[0] for line in lines] == ['0', '1', '2']
    assert json.loads(figures)['images'] == 3

"""Files written by commit 8a47497 still work: a run, its checkpoint, a frozen graph and a dataset.

That commit made tests/fixtures/v1 on tf2: 64 + 8 images of shapes as TFRecords, a deterministic run
of lenet5 on them, which stands at step 2 of 4, and the graph that was frozen at step 4.
"""

import json
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost import engines, files, runs
from permafrost.datasets import loading
from permafrost.evaluation import evaluate, evaluator
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.export import freeze
from permafrost.training import loop
from permafrost.training.checkpoints import finding
from permafrost.training.setup import TrainSetup
from tests.label_image import program

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fixtures', 'v1')
GRAPH = os.path.join(FIXTURES, 'lenet5.pb')
IDENTITY = 'eb19eb94c94428b7cdd5b15a81e360be3d448c99462a5dcecdbfb9b15243b9cf'
# Another TensorFlow rounds otherwise, and training multiplies the difference.
TOLERANCE = 1e-5 if engines.installed() == 'tf2' else 1e-3


@pytest.fixture
def run(tmp_path):
    """The run of the earlier version, in a copy together with its dataset."""
    return os.path.join(shutil.copytree(FIXTURES, str(tmp_path / 'v1')), 'runs', 'lenet5', '1')


@pytest.fixture(scope='module')
def dataset():
    return loading.open_dataset(os.path.join(FIXTURES, 'shapes'))


def test_the_dataset_opens(dataset):
    assert dataset.identity == IDENTITY
    assert dataset.classes == ('circle', 'cross', 'stripe')
    assert dataset.counts == {'train': 64, 'test': 8}
    images, labels = loading.load(dataset, 'test')
    assert images.shape == (8, 32, 32, 3) and sorted(labels) == [0, 1, 2, 2, 2, 2, 2, 2]


def test_the_run_is_evaluated(run):
    with evaluator.Evaluator(run, None, weights='raw') as raw:
        metrics = raw.evaluate(*finding.find_checkpoint(run))
    assert (metrics['step'], metrics['correct'], metrics['images']) == (2, 1, 8)
    np.testing.assert_allclose(metrics['cross_entropy'], 1.3422648848711463, rtol=1e-5)


def test_the_run_is_resumed_evaluated_and_frozen(run, dataset, capsys):
    config, extra = runs.read_config(run)
    assert extra['dataset_identity'] == IDENTITY
    opened = loading.open_for_run(config)
    assert loop.train(TrainSetup(config, opened, run=run, resume=True)) == 0
    output = capsys.readouterr().out
    assert 'resuming at step 2' in output and 'done at step 4' in output
    losses = dict(re.findall(r'^step (\d)/4 .*\bloss (\S+)', output, re.M))
    np.testing.assert_allclose([float(losses['3']), float(losses['4'])], [1.11871, 1.02411],
                               rtol=TOLERANCE)

    metrics = evaluate.evaluate_run(run, None)
    assert (metrics['step'], metrics['weights'], metrics['correct']) == (4, 'averaged', 8)
    np.testing.assert_allclose(metrics['cross_entropy'], 0.7343277093794336, rtol=TOLERANCE)

    path = os.path.join(run, 'lenet5.pb')
    described = freeze.freeze(run, None, output=path)
    assert described['step'] == 4 and described['classes'] == list(dataset.classes)
    images = loading.load(dataset, 'test')[0]
    np.testing.assert_allclose(_logits(path, images), _logits(GRAPH, images), rtol=TOLERANCE,
                               atol=TOLERANCE)
    nodes, earlier = ({node.name: node.op for node in graph_def.read_graph(name).node}
                      for name in (path, GRAPH))
    assert nodes == earlier


def _logits(path, images):
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph_def.read_graph(path), name='')
        return session.run('predictions:0', {'images:0': images})


def test_the_frozen_graph_is_evaluated(dataset):
    metrics = evaluate.evaluate_frozen_graph(
        GRAPH, None, dataset=os.path.join(FIXTURES, 'shapes'))
    described = files.read_json(os.path.join(FIXTURES, 'lenet5.json'))
    assert metrics['correct'] == described['correct'] == 8
    np.testing.assert_allclose(metrics['cross_entropy'], 0.7343277093794336, rtol=1e-5)


def test_the_frozen_graph_labels_a_photo():
    program.make()
    process = program.execute(program.PROGRAM, f'--graph={GRAPH}', program.OWN, '--json', '--top=3',
                              os.path.join(FIXTURES, 'photo.png'))
    assert (process.returncode, process.stderr) == (0, '')
    top = json.loads(process.stdout)['images'][0]['top']
    assert [guess['label'] for guess in top] == ['cross', 'stripe', 'circle']
    np.testing.assert_allclose([guess['probability'] for guess in top],
                               [0.410757363, 0.37894249, 0.210300133], rtol=1e-5)

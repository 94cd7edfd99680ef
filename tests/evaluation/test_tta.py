"""Test-time augmentation: the views, their weights, and that it is never counted silently."""

import json

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import loading
from permafrost.evaluation import metrics, tta
from permafrost.evaluation.evaluator import Evaluator
from permafrost.experiments import results
from permafrost.training import checkpoints
from tests import processes

tf.disable_v2_behavior()
tf.enable_resource_variables()

IMAGES = np.random.RandomState(0).randint(0, 256, (5, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize('name, count', [('none', 1), ('flip', 2), ('flip_shift', 6)])
def test_views(name, count):
    views = tta.TTA[name](IMAGES)
    assert len(views) == count and sum(weight for weight, _ in views) == 1
    np.testing.assert_array_equal(views[0][1], IMAGES)
    assert all(view.shape == IMAGES.shape and view.dtype == np.uint8 for _, view in views)


def test_published_weights_and_shifts():
    """0.25 for the image and its mirror image, 0.125 for each of the four that are moved."""
    views = tta.flip_shift(IMAGES)
    assert [weight for weight, _ in views] == [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]
    np.testing.assert_array_equal(views[1][1], IMAGES[:, :, ::-1])
    down, up = views[2][1], views[4][1]
    np.testing.assert_array_equal(down[:, 1:, 1:], IMAGES[:, :-1, :-1])
    np.testing.assert_array_equal(down[:, 0, 1:], IMAGES[:, 1, :-1])  # mirrored at the border
    np.testing.assert_array_equal(up[:, :-1, :-1], IMAGES[:, 1:, 1:])
    np.testing.assert_array_equal(views[3][1], down[:, :, ::-1])


@pytest.fixture(scope='module')
def run(synthetic, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp('tta') / 'run')
    processes.finish(processes.training(synthetic, directory, '--steps=12'))
    return directory


def test_both_accuracies_are_given(run, synthetic):
    with Evaluator(run, None, tta='flip') as evaluator:
        figures = evaluator.evaluate(*checkpoints.find_checkpoint(run))
        images, labels = loading.load(synthetic, 'test')
        logits = [evaluator._session.run(evaluator.inference.predictions,
                                         {evaluator.inference.images: view})
                  for view in (images, images[:, :, ::-1])]
    assert figures['tta'] == 'flip' and figures['images'] == 500
    assert figures['correct'] == (logits[0].argmax(1) == labels).sum()
    both = (logits[0] + logits[1]).argmax(1)
    assert abs(figures['correct_tta'] - (both == labels).sum()) <= 1
    text = metrics.format_metrics(figures, synthetic.classes)
    assert 'accuracy %.4f' % figures['accuracy'] in text.splitlines()[0]
    assert 'with --tta flip: %d of 500' % figures['correct_tta'] in text
    with Evaluator(run, None) as evaluator:
        plain = evaluator.evaluate(*checkpoints.find_checkpoint(run))
    assert plain['correct'] == figures['correct'] and 'accuracy_tta' not in plain


def test_results_keep_them_apart(run, tmp_path):
    with Evaluator(run, None, tta='flip_shift') as evaluator:
        figures = evaluator.evaluate(*checkpoints.find_checkpoint(run))
    path = results.record(str(tmp_path), run, figures)
    with open(path) as stream:
        result = json.load(stream)
    assert result['tta'] == 'flip_shift' and result['seeds'] == [1]
    assert result['accuracy']['values'] == [figures['accuracy']]
    assert result['accuracy_tta']['mean'] == figures['accuracy_tta']
    del figures['tta'], figures['accuracy_tta']
    results.record(str(tmp_path), run, figures)
    with open(path) as stream:
        assert 'accuracy_tta' not in json.load(stream)


def test_unknown_views_are_refused(run):
    output = processes.finish(processes.command('eval.py', '--run=' + run, '--tta=flop'), 2)
    assert 'flip_shift' in output

"""Metrics are exact at any batch size and agree with NumPy."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation import metrics, tta
from permafrost.evaluation.evaluator import Evaluator
from permafrost.training.checkpoints import finding


@pytest.fixture(scope='module')
def evaluator(run):
    """An Evaluator that has restored the last checkpoint."""
    with Evaluator(run, None) as evaluator:
        evaluator.evaluate(*finding.find_checkpoint(run))
        yield evaluator


@pytest.fixture(scope='module')
def compute(evaluator, synthetic):
    """compute(batch_size, tta): the metrics of the restored checkpoint on the test images."""
    def compute(batch_size=100, tta='none'):
        return metrics.compute_metrics(evaluator.session, evaluator.inference,
                                       *loading.load(synthetic, 'test'), batch_size, tta)
    return compute


@pytest.mark.parametrize('batch_size', [1, 7, 64, 499, 500, 4096])
def test_every_image_counts_once_at_any_batch_size(compute, synthetic, batch_size):
    values, reference = compute(batch_size), compute()
    labels = loading.load(synthetic, 'test')[1]
    assert values['images'] == 500
    confusion = np.array(values['confusion'])
    np.testing.assert_array_equal(confusion.sum(1), np.bincount(labels, minlength=10))
    assert values['correct'] == confusion.trace() == round(values['accuracy'] * 500)
    np.testing.assert_allclose(values['per_class'], confusion.diagonal() / confusion.sum(1),
                               atol=1e-6)
    np.testing.assert_allclose(values['cross_entropy'], reference['cross_entropy'], rtol=1e-5)
    assert abs(values['correct'] - reference['correct']) <= 1  # the order of sums may differ


def test_loss_and_accuracy_agree_with_numpy(compute, evaluator, synthetic):
    """From the probabilities of single images."""
    images, labels = loading.load(synthetic, 'test')
    values, inference = compute(), evaluator.inference
    probabilities = np.concatenate([
        evaluator.session.run(inference.probabilities, {inference.images: images[i:i + 1]})
        for i in range(len(images))])
    np.testing.assert_allclose(
        values['cross_entropy'], -np.log(probabilities[np.arange(500), labels]).mean(), rtol=1e-4)
    assert abs(values['correct'] - (probabilities.argmax(1) == labels).sum()) <= 1


def test_accuracy_is_given_without_and_with_tta(compute, evaluator, synthetic):
    images, labels = loading.load(synthetic, 'test')
    inference, values = evaluator.inference, compute(tta='flip')
    logits = [evaluator.session.run(inference.predictions, {inference.images: view})
              for view in (images, images[:, :, ::-1])]
    assert values['tta'] == 'flip' and values['images'] == 500
    assert values['correct'] == (logits[0].argmax(1) == labels).sum()
    both = (logits[0] + logits[1]).argmax(1)
    assert abs(values['correct_tta'] - (both == labels).sum()) <= 1
    plain = compute()
    assert plain['correct'] == values['correct'] and 'accuracy_tta' not in plain


def test_the_worst_mistakes_are_those_of_the_highest_probability(evaluator, synthetic):
    images, labels = loading.load(synthetic, 'test')
    inference = evaluator.inference
    probabilities = np.concatenate([
        evaluator.session.run(inference.probabilities, {inference.images: images[i:i + 100]})
        for i in range(0, 500, 100)])
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-probabilities[wrong].max(1), kind='stable')][:5]
    called = []
    values = metrics.compute_metrics(evaluator.session, inference, images, labels, 64, 'flip', 5,
                                     lambda: called.append(1))
    assert len(called) == 8
    assert [each['index'] for each in values['mistakes']] == worst.tolist()
    for each in values['mistakes']:
        row = each['index']
        assert (each['label'], each['predicted']) == (labels[row], predicted[row])
        assert each['probability'] == pytest.approx(probabilities[row].max(), abs=1e-5)


def test_the_views_of_tta_are_averaged_with_their_weights():
    random = np.random.RandomState(1)
    images, labels = random.randint(0, 256, (300, 8, 8, 3)).astype(np.uint8), np.arange(300) % 10
    weights = random.randn(8 * 8 * 3, 10)
    network = SimpleNamespace(
        num_classes=10, has_probabilities=False,
        logits=lambda session, view: view.reshape(len(view), -1).dot(weights))
    values = metrics.compute_metrics(None, network, images, labels, 100, 'flip_shift')
    shares, views = zip(*tta.flip_shift(images))
    logits = [network.logits(None, view) for view in views]
    def correct(each):
        return (each.argmax(1) == labels).sum()
    assert values['correct'] == correct(logits[0])
    assert values['correct_tta'] == correct(sum(map(np.multiply, shares, logits)))
    assert len({correct(logits[0]), correct(sum(logits)), values['correct_tta']}) == 3


def test_too_little_memory_is_one_line(synthetic):
    def fail(*unused):
        raise tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating tensor')

    network = SimpleNamespace(num_classes=10, logits=fail)
    with pytest.raises(UserError, match='^out of memory: stop other processes'):
        metrics.compute_metrics(None, network, *loading.load(synthetic, 'test'))


def test_text_of_metrics():
    values = {'images': 3, 'correct': 2, 'accuracy': 2 / 3, 'cross_entropy': 0.5,
              'per_class': [1., 0.5], 'confusion': [[1, 0], [1, 1]],
              'eval_images_per_second': 99.6, 'tta': 'flip',
              'correct_tta': 3, 'accuracy_tta': 1., 'step': 30, 'split': 'test', 'weights': 'raw'}
    assert metrics.format_metrics(values, ['cat', 'frog']).splitlines() == [
        'step 30: 2 of 3 test images correct, accuracy 0.6667, cross entropy 0.5000 '
        '(raw weights, 100 images/s)',
        '  with --tta flip: 3 of 3 correct, accuracy 1.0000',
        'accuracy and confusion (rows: true class; columns: predicted class, same order):',
        '  cat  100.00 %      1     0', '  frog  50.00 %      1     1']
    without = dict(values, per_class=[None, 2 / 3], confusion=[[0, 0], [1, 2]])
    assert metrics.format_metrics(without, ['cat', 'frog']).splitlines()[3:] == [
        '  cat       –        0     0', '  frog  66.67 %      1     2']
    for name in ('tta', 'step', 'weights'):
        del values[name]
    lines = metrics.format_metrics(dict(values, graph='a.pb'), ['cat', 'frog']).splitlines()
    assert lines[0].startswith('a.pb: 2 of 3 test images') and len(lines) == 4
    many = dict(values, graph='a.pb', per_class=[0.] * 21, confusion=[[1] * 21] * 21)
    assert metrics.format_metrics(many, ['x'] * 21).splitlines()[1:3] == [
        'accuracy of each class:', '  x   0.00 %']

"""Metrics over all images of a split: accuracy, cross entropy and confusion, as text too."""

import time
from typing import Any, Callable, Dict, List, Sequence, Union

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.errors import OUT_OF_MEMORY, UserError, printable
from permafrost.evaluation import tta as test_time_augmentation
from permafrost.evaluation.frozen_graphs.classifier import Classifier
from permafrost.evaluation.inference_graph import InferenceGraph
from permafrost.inputs import pipeline

BATCH_SIZE = 500  # images
MAX_CONFUSION_CLASSES = 20  # with more classes the confusion matrix is not printed

Metrics = Dict[str, Any]


def compute_metrics(session: tf.Session, inference: Union[InferenceGraph, Classifier],
                    images: np.ndarray, labels: np.ndarray, batch_size: int = BATCH_SIZE,
                    tta: str = 'none', num_mistakes: int = 0,
                    before_batch: Callable[[], None] = lambda: None) -> Metrics:
    """Compute exact metrics: every image counts once, whatever the batch size.

    `images` are uint8 [N, H, W, 3], `labels` int64 [N]. `before_batch` is called before each batch.

    Returns {'images', 'correct', 'accuracy', 'cross_entropy' (mean), 'per_class' (accuracies; None
    without images), 'confusion' (rows: true class, columns: predicted),
    'eval_images_per_second'}. `tta`, a name in tta.TTA, adds {'tta': its name, 'correct_tta',
    'accuracy_tta'} and changes no others. Without probabilities there is no 'cross_entropy'.
    `num_mistakes` adds 'mistakes': the wrong answers of the highest probability, {'index' (of the
    image), 'label', 'predicted', 'probability'}.
    Raises UserError if the network returns NaN or memory runs out.
    """
    classes = inference.num_classes
    confusion = np.zeros((classes, classes), np.int64)
    cross_entropy, correct_tta, start = 0., 0, time.monotonic()
    mistakes: List[Dict[str, Any]] = []
    for batch, truth in pipeline.evaluation_batches(images, labels, batch_size):
        before_batch()
        weights, views = zip(*test_time_augmentation.TTA[tta](batch))
        try:
            logits = np.array([inference.logits(session, view) for view in views], np.float64)
        except tf.errors.ResourceExhaustedError:
            raise UserError(OUT_OF_MEMORY) from None
        first = int(confusion.sum())
        _check_finite(logits[0], first)
        averaged = np.average(logits, 0, weights)
        correct_tta += int((averaged.argmax(1) == truth).sum())
        np.add.at(confusion, (truth, logits[0].argmax(1)), 1)
        log_probabilities = _log_softmax(logits[0])
        cross_entropy -= np.sum(log_probabilities[np.arange(len(truth)), truth])
        if num_mistakes:
            mistakes += _mistakes(log_probabilities, truth, first)
            mistakes.sort(key=lambda each: (-each['probability'], each['index']))
            del mistakes[num_mistakes:]
    count, correct = int(confusion.sum()), int(confusion.trace())
    metrics = {'images': count, 'correct': correct, 'accuracy': correct / count,
               'cross_entropy': cross_entropy / count,
               'per_class': [round(int(right) / int(total), 6) if total else None
                             for right, total in zip(confusion.diagonal(), confusion.sum(1))],
               'confusion': confusion.tolist(),
               'eval_images_per_second': round(count / (time.monotonic() - start), 1)}
    if num_mistakes:
        metrics['mistakes'] = mistakes
    if not inference.has_probabilities:
        del metrics['cross_entropy']
    if tta != 'none':
        metrics.update(tta=tta, correct_tta=correct_tta, accuracy_tta=correct_tta / count)
    return metrics


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the logarithms of the probabilities that `logits` [N, classes] mean."""
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _mistakes(log_probabilities: np.ndarray, truth: np.ndarray, first: int
              ) -> List[Dict[str, Any]]:
    """Return the wrong answers of a batch, whose first image has the number `first`."""
    predicted = log_probabilities.argmax(1)
    return [{'index': first + int(row), 'label': int(truth[row]), 'predicted': int(predicted[row]),
             'probability': round(float(np.exp(log_probabilities[row].max())), 6)}
            for row in np.flatnonzero(predicted != truth)]


def _check_finite(logits, first):
    """Raise UserError if a row is not finite; `first` is the number of the first image."""
    wrong = ~np.isfinite(logits).all(1)
    if wrong.any():
        what = 'NaN' if np.isnan(logits).any() else 'infinity'
        raise UserError(f'the network returns {what} for image {first + int(wrong.argmax())}: its '
                        'weights or statistics are damaged, or its training diverged')


def format_metrics(metrics: Metrics, classes: Sequence[str]) -> str:
    """Return lines of text: the totals, then the accuracy and confusion of each class."""
    return f'{format_totals(metrics)}\n{format_classes(metrics, classes)}'


def format_totals(metrics: Metrics) -> str:
    """Return a line of text, a second one for test-time augmentation."""
    source = f"step {metrics['step']}" if 'step' in metrics else metrics['graph']
    weights = f"{metrics['weights']} weights, " if 'weights' in metrics else ''
    count = metrics['images']
    entropy = (f", cross entropy {metrics['cross_entropy']:.4f}" if 'cross_entropy' in metrics
               else '')
    lines = [f"{printable(source)}: {metrics['correct']} of {count} {metrics['split']} images "
             f"correct, accuracy {metrics['accuracy']:.4f}{entropy} "
             f"({weights}{metrics['eval_images_per_second']:.0f} images/s)"]
    if 'tta' in metrics:
        lines.append(f"  with --tta {metrics['tta']}: {metrics['correct_tta']} of {count} correct, "
                     f"accuracy {metrics['accuracy_tta']:.4f}")
    return '\n'.join(lines)


def format_classes(metrics: Metrics, classes: Sequence[str]) -> str:
    """Return a header, then a line for each class: its accuracy and its row of the confusion."""
    has_confusion = len(classes) <= MAX_CONFUSION_CLASSES
    lines = ['accuracy and confusion (rows: true class; columns: predicted class, same order):'
             if has_confusion else 'accuracy of each class:']
    classes = [printable(name) for name in classes]
    width = max(map(len, classes))
    for name, accuracy, row in zip(classes, metrics['per_class'], metrics['confusion']):
        counts = ' '.join(f'{n:5d}' for n in row if has_confusion)
        percent = f'{"–":>6}  ' if accuracy is None else f'{100 * accuracy:6.2f} %'
        lines.append(f'  {name:<{width}} {percent}  {counts}'.rstrip())
    return '\n'.join(lines)

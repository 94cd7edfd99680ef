"""Metrics: accuracy, loss and confusion over all images of a split, computed and printed."""

import time
from typing import Any, Dict, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.evaluation import tta as test_time_augmentation
from permafrost.evaluation.inference_graph import InferenceGraph
from permafrost.inputs import pipeline

BATCH_SIZE = 500  # images
MAX_CONFUSION_CLASSES = 20  # with more classes the confusion matrix is not printed

Metrics = Dict[str, Any]


def compute_metrics(session: tf.Session, inference: InferenceGraph, images: np.ndarray,
                    labels: np.ndarray, batch_size: int = BATCH_SIZE, tta: str = 'none') -> Metrics:
    """Compute exact metrics: every image counts once, whatever the batch size.

    `images` are uint8 [N, H, W, 3], `labels` int64 [N].

    Returns {'images', 'correct', 'accuracy', 'loss' (mean cross entropy), 'per_class' (accuracies),
    'confusion' (rows: true class, columns: predicted), 'images_per_second'}. `tta`, a name in
    tta.TTA, adds {'tta': its name, 'correct_tta', 'accuracy_tta'} and changes no others.
    """
    classes = inference.predictions.shape.as_list()[1]
    confusion = np.zeros((classes, classes), np.int64)
    loss, correct_tta, start = 0., 0, time.time()
    for batch, truth in pipeline.evaluation_batches(images, labels, batch_size):
        weights, views = zip(*test_time_augmentation.TTA[tta](batch))
        logits = np.array([session.run(inference.predictions, {inference.images: view})
                           for view in views], np.float64)
        averaged = np.average(logits, 0, weights)
        correct_tta += int((averaged.argmax(1) == truth).sum())
        np.add.at(confusion, (truth, logits[0].argmax(1)), 1)
        shifted = logits[0] - logits[0].max(1, keepdims=True)
        loss += np.sum(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(truth)), truth])
    count, correct = int(confusion.sum()), int(confusion.trace())
    per_class = confusion.diagonal() / np.maximum(confusion.sum(1), 1)
    metrics = {'images': count, 'correct': correct, 'accuracy': correct / count,
               'loss': loss / count, 'per_class': [round(float(a), 6) for a in per_class],
               'confusion': confusion.tolist(),
               'images_per_second': round(count / (time.time() - start), 1)}
    if tta != 'none':
        metrics.update(tta=tta, correct_tta=correct_tta, accuracy_tta=correct_tta / count)
    return metrics


def format_metrics(metrics: Metrics, classes: Sequence[str]) -> str:
    """Return lines of text: the totals, then the accuracy and confusion of each class."""
    source = f"step {metrics['step']}" if 'step' in metrics else metrics['graph']
    weights = f"{metrics['weights']} weights, " if 'weights' in metrics else ''
    count = metrics['images']
    lines = [f"{source}: {metrics['correct']} of {count} {metrics['split']} images correct, "
             f"accuracy {metrics['accuracy']:.4f}, loss {metrics['loss']:.4f} "
             f"({weights}{metrics['images_per_second']:.0f} images/s)"]
    if 'tta' in metrics:
        lines.append(f"  with --tta {metrics['tta']}: {metrics['correct_tta']} of {count} correct, "
                     f"accuracy {metrics['accuracy_tta']:.4f}")
    width = max(map(len, classes))
    for name, accuracy, row in zip(classes, metrics['per_class'], metrics['confusion']):
        counts = ' '.join(f'{n:5d}' for n in row if len(classes) <= MAX_CONFUSION_CLASSES)
        lines.append(f'  {name:<{width}} {100 * accuracy:6.2f} %  {counts}'.rstrip())
    return '\n'.join(lines)

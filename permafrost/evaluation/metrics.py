"""Metrics."""

import time

import numpy as np

from permafrost.evaluation import tta
from permafrost.inputs import pipeline
MAX_CLASSES_SHOWN = 20  # classes at most whose confusion is printed too


def compute_metrics(session, inference, images, labels, batch_size, views='none'):
    """Exact figures over all images, each counted once.

    Args:
      images: uint8 [N, H, W, 3].
      labels: int64 [N].
      views: a name in tta.TTA. What it changes is told apart: all other figures are without it.
    Returns:
      {'images', 'correct', 'accuracy', 'loss' (mean cross entropy), 'per_class' (accuracies),
      'confusion' (rows: true class, columns: predicted), 'images_per_second'} and, with `views`,
      {'tta': its name, 'correct_tta', 'accuracy_tta'}.
    """
    classes = inference.predictions.shape.as_list()[1]
    confusion = np.zeros((classes, classes), np.int64)
    loss, correct_tta, start = 0., 0, time.time()
    for batch, truth in pipeline.evaluation_batches(images, labels, batch_size):
        seen = [(weight, session.run(inference.predictions, {inference.images: view})
                 .astype(np.float64)) for weight, view in tta.TTA[views](batch)]
        correct_tta += int((sum(weight * of_view for weight, of_view in seen).argmax(1)
                            == truth).sum())
        logits = seen[0][1]
        np.add.at(confusion, (truth, logits.argmax(1)), 1)
        shifted = logits - logits.max(1, keepdims=True)
        loss += np.sum(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(truth)), truth])
    count, correct = int(confusion.sum()), int(confusion.trace())
    per_class = confusion.diagonal() / np.maximum(confusion.sum(1), 1)
    also = {} if views == 'none' else {
        'tta': views, 'correct_tta': correct_tta, 'accuracy_tta': correct_tta / count}
    return {'images': count, 'correct': correct, 'accuracy': correct / count,
            'loss': loss / count, 'per_class': [round(float(a), 6) for a in per_class],
            'confusion': confusion.tolist(),
            'images_per_second': round(count / (time.time() - start), 1), **also}


def format_metrics(figures, classes):
    """The figures as lines for people."""
    of = 'step %(step)d' if 'step' in figures else '%(graph)s'
    weights = '%(weights)s weights, ' if 'weights' in figures else ''
    lines = [(of + ': %(correct)d of %(images)d %(split)s images correct, accuracy '
              '%(accuracy).4f, loss %(loss).4f (' + weights + '%(images_per_second).0f images/s)')
             % figures]
    if 'tta' in figures:
        lines.append('  with --tta %(tta)s: %(correct_tta)d of %(images)d correct, accuracy '
                     '%(accuracy_tta).4f' % figures)
    width = max(map(len, classes))
    for name, accuracy, row in zip(classes, figures['per_class'], figures['confusion']):
        counts = ' '.join('%5d' % n for n in row) if len(classes) <= MAX_CLASSES_SHOWN else ''
        lines.append(('  %-*s %6.2f %%  %s' % (width, name, 100 * accuracy, counts)).rstrip())
    return '\n'.join(lines)

"""The inference graph, and exact accuracy with it: once, or beside a running training."""

import collections
import json
import os
import time
import uuid

import numpy as np
import tensorflow.compat.v1 as tf

import models
from models.net import Net
from permafrost import augment, checkpoints, data, frozen, inputs, results, runs, tta
from permafrost.config import Recipe, UsageError, UserError, write_atomically, write_json

# `images` uint8 [N, H, W, 3] as decoded; `inputs` float [N, h, w, 3] preprocessed; `predictions`
# logits [N, classes]; `probabilities` their softmax.
Inference = collections.namedtuple('Inference', 'images inputs predictions probabilities')

POLL_SECONDS = 2.
SHOWN = 20  # classes at most whose confusion is printed too


def inference_graph(config, classes, image_shape):
    """Builds the network without dropout in the default graph: an Inference.

    Args:
      config: a Config.
      classes: names of the classes.
      image_shape: (H, W, 3) of the images as decoded.
    """
    images = tf.placeholder(tf.uint8, (None,) + tuple(image_shape), name='images')
    pixels = tf.identity(augment.evaluation(images, config.recipe, config.statistics),
                         name='inputs')
    logits = models.build(config.model, Net(training=False, num_classes=len(classes)), pixels)
    logits = tf.identity(logits, name='predictions')
    return Inference(images, pixels, logits, tf.nn.softmax(logits, name='probabilities'))


def restored_variables(config, weights):
    """{name in a training's checkpoint: variable of the default graph to fill from it}.

    `weights` is 'averaged' or 'raw'. What is not trained (moving statistics) has no average
    and is always restored as it is.
    Raises UserError where averages are asked for and the recipe keeps none.
    """
    restored = {variable.op.name: variable for variable in tf.global_variables()}
    if weights == 'averaged':
        if not config.recipe.average_decay:
            raise UserError('this run keeps no averages: use --weights=raw')
        for variable in tf.trainable_variables():
            restored[variable.op.name + '/ExponentialMovingAverage'] = restored.pop(
                variable.op.name)
    return restored


def default_weights(config):
    """The weights that count for a run: averaged where there are averages."""
    return 'averaged' if config.recipe.average_decay else 'raw'


def frozen_graph(graph, data_set, image_size=None):
    """Adds the frozen `graph`, a GraphDef, to the default graph: an Inference.

    A graph that does not preprocess images itself is given their centre of side `image_size`
    (None: what the graph says), each standardized.
    Raises UserError where it is no classifier of the images of `data_set`.
    """
    graph, shape = frozen.inference(graph), (None,) + data_set.image_shape
    if frozen.takes_images(graph):
        if image_size is not None:
            raise UsageError('this graph crops images itself: leave --image_size out')
        images, pixels = tf.placeholder(tf.uint8, shape), None
        frozen.add(graph, {'images:0': images})
    else:
        size = image_size or frozen.side(graph)
        images = tf.placeholder(tf.uint8, shape, name='images')
        pixels = augment.evaluation(images, Recipe('frozen', image_size=size))
        frozen.add(graph, {'inputs:0': pixels})
    try:
        logits = tf.get_default_graph().get_tensor_by_name('predictions:0')
        logits.set_shape([None, len(data_set.classes)])
    except (KeyError, ValueError):
        raise UserError('this graph has no node `predictions` of shape [N, %d], a logit for each '
                        'class of %s' % (len(data_set.classes), data_set.name))
    return Inference(images, pixels, logits, tf.nn.softmax(logits))


def measure(session, inference, images, labels, batch_size, views='none'):
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
    for batch, truth in inputs.evaluation_batches(images, labels, batch_size):
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


class Evaluator:
    """Evaluates checkpoints of one run on one split, one after the other.

    Use as a context manager; it holds a session. Figures go to `eval/<split>/` of the run.
    """

    def __init__(self, run, session_config, split='test', weights=None, batch_size=500,
                 data_set=None, data_dir=None, tta='none'):
        self.run = run
        self._views = tta
        self.config, self.extra = runs.read_config(run)
        data_set = data.open_of_run(self.config, data_set, data_dir)
        self.same_data = runs.check_data(run, self.extra, data_set)
        self.weights = weights or default_weights(self.config)
        self.split = split
        self._batch_size = batch_size
        self._images, self._labels = data.load(data_set, split)
        self._graph = tf.Graph()
        with self._graph.as_default():
            self.inference = inference_graph(self.config, data_set.classes, data_set.image_shape)
            self._variables = restored_variables(self.config, self.weights)
            self._saver = tf.train.Saver(self._variables)
        self._session = tf.Session(graph=self._graph, config=session_config)
        self.directory = os.path.join(run, 'eval', split)
        os.makedirs(self.directory, exist_ok=True)
        # 1.15 names event files by the second alone: two of one second would be one.
        self._writer = tf.summary.FileWriter(self.directory, self._graph,
                                             filename_suffix='.' + uuid.uuid4().hex[:8])

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._writer.close()
        self._session.close()

    def evaluate(self, step, checkpoint):
        """Figures of the checkpoint at path prefix `checkpoint`: see `measure`.

        Raises UserError where it cannot be read or is of another model.
        """
        checkpoints.restore(self._saver, self._session, checkpoint, self._variables)
        figures = measure(self._session, self.inference, self._images, self._labels,
                          self._batch_size, self._views)
        figures.update(step=step, split=self.split, weights=self.weights, date=runs.now(),
                       checkpoint=os.path.basename(checkpoint))
        self._write(figures)
        return figures

    def _write(self, figures):
        """Appends to metrics.jsonl, keeps the best, and writes what TensorBoard shows."""
        with open(os.path.join(self.directory, 'metrics.jsonl'), 'a') as stream:
            stream.write(json.dumps(figures, sort_keys=True) + '\n')
        suffix = '' if self.weights == default_weights(self.config) else '_' + self.weights
        best = os.path.join(self.directory, 'best%s.json' % suffix)
        if figures['accuracy'] > _read(best).get('accuracy', -1.):
            write_json(best, figures)
        self._writer.add_summary(tf.Summary(value=[
            tf.Summary.Value(tag=name + suffix, simple_value=figures[name])
            for name in ('accuracy', 'accuracy_tta', 'loss', 'images_per_second')
            if name in figures]), figures['step'])
        self._writer.flush()

    def profile(self, step):
        """Writes a trace of one batch that TensorBoard or chrome://tracing opens; its path."""
        from tensorflow.python.client import timeline  # no public name has it
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        feed = {self.inference.images: self._images[:self._batch_size]}
        self._session.run(self.inference.predictions, feed)  # the first run allocates
        metadata = tf.RunMetadata()
        self._session.run(self.inference.predictions, feed, options, metadata)
        self._writer.add_run_metadata(metadata, 'step_%d' % step, step)
        path = os.path.join(self.directory, 'trace-%d.json' % step)
        write_atomically(path, timeline.Timeline(
            metadata.step_stats).generate_chrome_trace_format())
        return path


def _read(path):
    try:
        with open(path) as stream:
            return json.load(stream)
    except (FileNotFoundError, ValueError):
        return {}


def follow(evaluator, patience=0.):
    """Evaluates each new checkpoint of a running training until the training has ended.

    Checkpoints that the training deletes meanwhile are skipped. Yields the figures of each.
    `patience` is for how many seconds one that was stopped or killed may be started again.
    """
    done, running = -1, time.time()
    while True:
        # Asked before looking: a training that ends in between has its last one still to come.
        alive = runs.training(evaluator.run)
        running = time.time() if alive else running
        ended = not alive and (time.time() - running >= patience or runs.read_status(
            evaluator.run).get('state') in ('done', 'failed'))
        new = [item for item in runs.checkpoints(evaluator.run).items() if item[0] > done]
        if new:
            done, checkpoint = new[-1]
            try:
                yield evaluator.evaluate(done, checkpoint)
            except UserError:
                if done in runs.checkpoints(evaluator.run):
                    raise
                print('step %d: deleted before it was read, skipped' % done, flush=True)
        elif ended:
            return
        else:
            time.sleep(POLL_SECONDS)


def evaluate(run, session_config, step=None, following=False, patience=0., profile=False,
             results_dir=None, **options):
    """What eval.py does: evaluates one checkpoint of `run`, or all that come; prints figures.

    Args:
      step: of the checkpoint; None: the last.
      following: whether to go on until the training has ended.
      patience: see follow.
      results_dir: where to record the result of a finished run, or None.
      **options: of Evaluator.
    """
    figures = None
    with Evaluator(run, session_config, **options) as evaluator:
        if results_dir and not evaluator.same_data:
            raise UserError('a result is of the data set that %s was trained on: bring it back, or '
                            'leave out --results' % run)
        for figures in (follow(evaluator, patience) if following else
                        [evaluator.evaluate(*runs.checkpoint(run, step))]):
            print(describe(figures, evaluator.extra['classes']), flush=True)
        if figures is None:
            raise UserError('the training in %s ended without a checkpoint' % run)
        if profile:
            print('trace: %s (open it in chrome://tracing)' % evaluator.profile(figures['step']))
        print('figures: %s' % os.path.join(evaluator.directory, 'metrics.jsonl'))
    if results_dir:
        print('result: %s' % results.record(results_dir, run, figures))


def evaluate_graph(path, session_config, image_size=None, data_set=None, data_dir=None,
                   split='test', batch_size=500, tta='none'):
    """What eval.py --graph does: evaluates the frozen graph at `path`; prints and returns figures.

    Args:
      image_size: see frozen_graph.
      data_set, data_dir, split: the images; of CIFAR-10 by default.
    """
    graph = frozen.read(path)
    data_set = data.open_data_set(data_set or 'cifar10', data_dir)
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        inference = frozen_graph(graph, data_set, image_size)
        try:
            figures = measure(session, inference, *data.load(data_set, split), batch_size, tta)
        except (tf.errors.OpError, ValueError) as error:
            raise UserError('%s cannot be run on these images: %s' % (
                path, ' '.join(str(error).split())[:300]))
    figures.update(graph=path, split=split)
    print(describe(figures, data_set.classes))
    return figures


def describe(figures, classes):
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
        counts = ' '.join('%5d' % n for n in row) if len(classes) <= SHOWN else ''
        lines.append(('  %-*s %6.2f %%  %s' % (width, name, 100 * accuracy, counts)).rstrip())
    return '\n'.join(lines)

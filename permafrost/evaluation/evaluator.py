"""Evaluator."""

import json
import os
import time
import uuid

import tensorflow.compat.v1 as tf

from permafrost import files, runs
from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation import inference_graph, metrics
from permafrost.training import checkpoints
POLL_SECS = 2.


class Evaluator:
    """Evaluates checkpoints of one run on one split, one after the other.

    Use as a context manager; it holds a session. Figures go to `eval/<split>/` of the run.
    """

    def __init__(self, run, session_config, split='test', weights=None, batch_size=500,
                 dataset=None, data_dir=None, tta='none'):
        self.run = run
        self._views = tta
        self.config, self.extra = runs.read_config(run)
        dataset = loading.open_for_run(self.config, dataset, data_dir)
        self.same_data = runs.check_data(run, self.extra, dataset)
        self.weights = weights or inference_graph.default_weights(self.config)
        self.split = split
        self._batch_size = batch_size
        self._images, self._labels = loading.load(dataset, split)
        self._graph = tf.Graph()
        with self._graph.as_default():
            self.inference = inference_graph.build_inference_graph(self.config, dataset.classes, dataset.image_shape)
            self._variables = inference_graph.checkpoint_variable_map(self.config, self.weights)
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
        figures = metrics.compute_metrics(self._session, self.inference, self._images, self._labels,
                          self._batch_size, self._views)
        figures.update(step=step, split=self.split, weights=self.weights, date=runs.utc_now(),
                       checkpoint=os.path.basename(checkpoint))
        self._write(figures)
        return figures

    def _write(self, figures):
        """Appends to metrics.jsonl, keeps the best, and writes what TensorBoard shows."""
        with open(os.path.join(self.directory, 'metrics.jsonl'), 'a') as stream:
            stream.write(json.dumps(figures, sort_keys=True) + '\n')
        suffix = '' if self.weights == inference_graph.default_weights(self.config) else '_' + self.weights
        best = os.path.join(self.directory, 'best%s.json' % suffix)
        if figures['accuracy'] > _read(best).get('accuracy', -1.):
            files.write_json(best, figures)
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
        files.write_atomically(path, timeline.Timeline(
            metadata.step_stats).generate_chrome_trace_format())
        return path


def _read(path):
    try:
        with open(path) as stream:
            return json.load(stream)
    except (FileNotFoundError, ValueError):
        return {}


def evaluate_new_checkpoints(evaluator, patience=0.):
    """Evaluates each new checkpoint of a running training until the training has ended.

    Checkpoints that the training deletes meanwhile are skipped. Yields the figures of each.
    `patience` is for how many seconds one that was stopped or killed may be started again.
    """
    done, running = -1, time.time()
    while True:
        # Asked before looking: a training that ends in between has its last one still to come.
        alive = runs.is_running(evaluator.run)
        running = time.time() if alive else running
        ended = not alive and (time.time() - running >= patience or runs.read_status(
            evaluator.run).get('state') in ('done', 'failed'))
        new = [item for item in checkpoints.list_checkpoints(evaluator.run).items() if item[0] > done]
        if new:
            done, checkpoint = new[-1]
            try:
                yield evaluator.evaluate(done, checkpoint)
            except UserError:
                if done in checkpoints.list_checkpoints(evaluator.run):
                    raise
                print('step %d: deleted before it was read, skipped' % done, flush=True)
        elif ended:
            return
        else:
            time.sleep(POLL_SECS)

"""Evaluator: computes and records the metrics of a run's checkpoints, also while it trains."""

import contextlib
import json
import os
import time
from typing import Iterator, Optional

import tensorflow.compat.v1 as tf

from permafrost import files, runs
from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation import inference_graph
from permafrost.evaluation.metrics import BATCH_SIZE, Metrics, compute_metrics
from permafrost.training import checkpoints

POLL_SECS = 2.
SUMMARIES = ('accuracy', 'accuracy_tta', 'loss', 'images_per_second')  # shown by TensorBoard


class Evaluator(contextlib.AbstractContextManager):
    """Evaluates checkpoints of one run on one split: use as a context manager.

    `same_data` tells whether the dataset is unchanged since the training. `session` runs
    `inference`, the InferenceGraph. Metrics are written to `directory`.
    """

    def __init__(self, run: str, session_config: Optional[tf.ConfigProto], split: str = 'test',
                 weights: Optional[str] = None, dataset: Optional[str] = None,
                 data_dir: Optional[str] = None, batch_size: int = BATCH_SIZE, tta: str = 'none'):
        """Load the images and build the inference graph.

        `weights` are 'averaged' or 'raw', by default averaged if the recipe averages. `dataset` and
        `data_dir` are the run's, by default where training found it. `tta` is a name in tta.TTA.
        """
        self.run = run
        config, extra = runs.read_config(run)
        data = loading.open_for_run(config, dataset, data_dir)
        self.same_data = runs.check_data(run, extra, data)
        self.classes = data.classes
        self._default_weights = inference_graph.default_weights(config)
        self._weights = weights or self._default_weights
        self._split, self._batch_size, self._tta = split, batch_size, tta
        self._images, self._labels = loading.load(data, split)
        graph = tf.Graph()
        with graph.as_default():
            self.inference = inference_graph.build_inference_graph(
                config, data.classes, data.image_shape)
            self._variables = inference_graph.checkpoint_variable_map(config, self._weights)
            self._saver = tf.train.Saver(self._variables)
        self.session = tf.Session(graph=graph, config=session_config)
        self.directory = os.path.join(run, 'eval', split)
        os.makedirs(self.directory, exist_ok=True)
        # TF 1.15 names event files by the second: two of the same second would be one file.
        suffix = f'.{time.time_ns()}'
        self._writer = tf.summary.FileWriter(self.directory, graph, filename_suffix=suffix)

    def __exit__(self, *unused: object) -> None:
        self._writer.close()
        self.session.close()

    def evaluate(self, step: int, checkpoint: str) -> Metrics:
        """Return the metrics of the checkpoint at path prefix `checkpoint`.

        They go to metrics.jsonl, to best.json if they are the best so far, and to TensorBoard.
        Raises UserError if the checkpoint cannot be read or is of another model.
        """
        checkpoints.restore(self._saver, self.session, checkpoint, self._variables)
        metrics = compute_metrics(self.session, self.inference, self._images, self._labels,
                                  self._batch_size, self._tta)
        metrics.update(step=step, split=self._split, weights=self._weights, date=runs.utc_now(),
                       checkpoint=os.path.basename(checkpoint))
        with open(os.path.join(self.directory, 'metrics.jsonl'), 'a') as stream:
            stream.write(json.dumps(metrics, sort_keys=True) + '\n')
        suffix = '' if self._weights == self._default_weights else '_' + self._weights
        best = os.path.join(self.directory, f'best{suffix}.json')
        if metrics['accuracy'] > files.read_json(best, {}).get('accuracy', -1.):
            files.write_json(best, metrics)
        self._writer.add_summary(tf.Summary(value=[
            tf.Summary.Value(tag=name + suffix, simple_value=metrics[name])
            for name in SUMMARIES if name in metrics]), step)
        self._writer.flush()
        return metrics

    def profile(self, step: int) -> str:
        """Write a trace of one batch for TensorBoard and chrome://tracing; return its path."""
        from tensorflow.python.client import timeline  # has no public name
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        feed = {self.inference.images: self._images[:self._batch_size]}
        self.session.run(self.inference.predictions, feed)  # the first run allocates memory
        metadata = tf.RunMetadata()
        self.session.run(self.inference.predictions, feed, options, metadata)
        self._writer.add_run_metadata(metadata, f'step_{step}', step)
        path = os.path.join(self.directory, f'trace-{step}.json')
        files.write_atomically(
            path, timeline.Timeline(metadata.step_stats).generate_chrome_trace_format())
        return path


def evaluate_new_checkpoints(evaluator: Evaluator,
                             restart_timeout: float = 0.) -> Iterator[Metrics]:
    """Evaluate each new checkpoint until the training ends; yield the metrics of each.

    Checkpoints that the training deletes before they are read are skipped. A training that was
    stopped or killed may start again within `restart_timeout` seconds.
    """
    last_step, last_alive = -1, time.time()
    while True:
        # Check this before listing checkpoints: a training saves its last one, then ends.
        if runs.is_running(evaluator.run):
            last_alive, ended = time.time(), False
        else:
            ended = (time.time() - last_alive >= restart_timeout or
                     runs.read_status(evaluator.run).get('state') in ('done', 'failed'))
        saved = checkpoints.list_checkpoints(evaluator.run)
        if saved and max(saved) > last_step:
            last_step = max(saved)
            try:
                yield evaluator.evaluate(last_step, saved[last_step])
            except UserError:
                if last_step in checkpoints.list_checkpoints(evaluator.run):
                    raise
                print(f'step {last_step}: skipped, it was deleted before it was read', flush=True)
        elif ended:
            return
        else:
            time.sleep(POLL_SECS)

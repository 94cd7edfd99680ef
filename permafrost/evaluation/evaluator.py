"""Evaluator: computes and records the metrics of a run's checkpoints, also while it trains."""

import contextlib
import dataclasses
import errno
import json
import os
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

import tensorflow.compat.v1 as tf

from permafrost import files, runs, schema
from permafrost.datasets import loading
from permafrost.errors import UserError, printable
from permafrost.evaluation import inference_graph
from permafrost.evaluation.metrics import BATCH_SIZE, Metrics, compute_metrics
from permafrost.schema import limited
from permafrost.training.checkpoints import finding, saving
from permafrost.training.compression import pruning
from permafrost.training.tensorboard import pictures
from permafrost.training.tensorboard.event_writer import EventWriter
from permafrost.training.tensorboard.summaries import TAGS

POLL_SECS = 2.
NUM_MISTAKES = 24  # in mistakes.json: those of the highest probability
# Shown by TensorBoard. What has the name of a scalar of the training is the same quantity.
SUMMARIES = ('accuracy', 'accuracy_tta', 'cross_entropy', 'eval_images_per_second')


@dataclasses.dataclass
class Best:
    """The field of best.json that is read."""
    accuracy: float = limited(minimum=0, maximum=1)


class Evaluator(contextlib.AbstractContextManager):
    """Evaluates checkpoints of one run on one split: use as a context manager.

    `same_data` tells whether the dataset is unchanged since the training. `session` runs
    `inference`, the InferenceGraph. Metrics are recorded in `directory`; while that is impossible,
    `is_recorded` is False.
    """

    def __init__(self, run: str, session_config: Optional[tf.ConfigProto], split: str = 'test',
                 weights: Optional[str] = None, dataset: Optional[str] = None,
                 data_dir: Optional[str] = None, batch_size: int = BATCH_SIZE, tta: str = 'none',
                 opened: Optional[loading.Dataset] = None):
        """Load the images and build the inference graph.

        `weights` are 'averaged' or 'raw', by default averaged if the recipe averages. `dataset` and
        `data_dir` are the run's, by default where training found it. `tta` is a name in tta.TTA.
        `opened` is the dataset of the run, if it need not be opened and verified again.
        """
        self.run = run
        config, extra = runs.read_config(run)
        data = opened or loading.open_for_run(config, dataset, data_dir)
        self.same_data = runs.check_data(run, extra, data)
        self._identity = data.identity
        self.classes = data.classes
        self._default_weights = config.recipe.default_weights
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
        self.is_recorded = True
        self._writer: Optional[EventWriter] = None

    def __exit__(self, *unused: object) -> None:
        if self._writer is not None:
            self._writer.close()
        self.session.close()

    def evaluate(self, step: int, checkpoint: str,
                 before_batch: Callable[[], None] = lambda: None) -> Metrics:
        """Return the metrics of the checkpoint at path prefix `checkpoint`, and record them.

        `before_batch` is called before each batch: what it raises ends the evaluation. Raises
        UserError if the checkpoint cannot be read or is of another model.
        """
        saving.restore(self._saver, self.session, checkpoint, self._variables)
        pruning.apply_masks(self.session, checkpoint, self._variables)
        metrics = compute_metrics(self.session, self.inference, self._images, self._labels,
                                  self._batch_size, self._tta, NUM_MISTAKES, before_batch)
        mistakes = metrics.pop('mistakes')
        metrics.update(step=step, split=self._split, weights=self._weights, date=runs.utc_now(),
                       checkpoint=os.path.basename(checkpoint), dataset_identity=self._identity)
        try:
            self._record(metrics, mistakes)
            self.is_recorded = True
        except OSError as error:  # a read-only or full disk: the metrics are known all the same
            if self.is_recorded:
                print(f'note: nothing is recorded in {printable(self.directory)} '
                      f'({error.strerror})', flush=True)
            self.is_recorded = False
        return metrics

    def _record(self, metrics: Metrics, mistakes: List[Dict[str, Any]]) -> None:
        """Append to metrics.jsonl, replace best.json if these are better, tell TensorBoard.

        Of another dataset there is only the line in metrics.jsonl: the rest describes the run.
        """
        os.makedirs(self.directory, exist_ok=True)
        line = json.dumps(metrics, sort_keys=True).encode() + b'\n'
        with open(os.path.join(self.directory, 'metrics.jsonl'), 'ab+', 0, opener=_open) as stream:
            end = stream.seek(0, os.SEEK_END)
            if end and os.pread(stream.fileno(), 1, end - 1) != b'\n':  # a copy was interrupted
                line = b'\n' + line
            if stream.write(line) < len(line):
                stream.truncate(end)  # half a line would spoil the next one
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if not self.same_data:
            return
        suffix = '' if self._weights == self._default_weights else '_' + self._weights
        best = os.path.join(self.directory, f'best{suffix}.json')
        if metrics['accuracy'] > schema.read_if_valid(best, Best, {}).get('accuracy', -1.):
            files.write_json(best, metrics)
        if not suffix:
            files.write_json(os.path.join(self.directory, 'mistakes.json'), mistakes)
        if self._writer is None:
            self._writer = EventWriter(self.directory, self.session.graph)
        self._writer.write(step=metrics['step'], summary=tf.Summary(value=[
            tf.Summary.Value(tag=TAGS[name] + suffix, simple_value=metrics[name])
            for name in SUMMARIES if name in metrics]))
        self._writer.write(step=metrics['step'], summary=pictures.evaluation_pictures(
            metrics['confusion'], self.classes, self._images, mistakes, suffix))

    def profile(self, step: int) -> str:
        """Write a trace of one batch for TensorBoard and ui.perfetto.dev; return its path.

        Raises UserError if it cannot be written.
        """
        from tensorflow.python.client import timeline  # has no public name
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        feed = {self.inference.images: self._images[:self._batch_size]}
        self.session.run(self.inference.predictions, feed)  # the first run allocates memory
        metadata = tf.RunMetadata()
        self.session.run(self.inference.predictions, feed, options, metadata)
        path = os.path.join(self.directory, f'trace-{step}.json')
        try:
            files.write_atomically(
                path, timeline.Timeline(metadata.step_stats).generate_chrome_trace_format())
        except OSError as error:
            raise UserError(f'cannot write {path} ({error.strerror}): make it writable, or leave '
                            'out --profile')
        if self._writer is not None:
            self._writer.write(step=step, tagged_run_metadata={
                'tag': f'step_{step}', 'run_metadata': metadata.SerializeToString()})
        return path


def _open(path: str, flags: int) -> int:
    """Open a file of this folder: no link to one elsewhere, no pipe that nobody reads."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def evaluate_new_checkpoints(evaluator: Evaluator,
                             restart_timeout: float = 0.) -> Iterator[Metrics]:
    """Evaluate each new checkpoint until the training ends; yield the metrics of each.

    Checkpoints that the training deletes before they are read are skipped. A training that was
    stopped or killed may start again within `restart_timeout` seconds.
    """
    last_step, last_alive = -1, time.monotonic()
    while True:
        # Check this before listing checkpoints: a training saves its last one, then ends.
        if runs.is_running(evaluator.run):
            last_alive, ended = time.monotonic(), False
        else:
            ended = (time.monotonic() - last_alive >= restart_timeout or
                     runs.read_status(evaluator.run).get('state') in ('done', 'failed'))
        newest = finding.newest_checkpoint(evaluator.run)
        if newest and newest.step > last_step:
            last_step = newest.step
            try:
                yield evaluator.evaluate(*newest)
            except UserError:
                if last_step in finding.list_checkpoints(evaluator.run):
                    raise
                print(f'step {last_step}: skipped, it was deleted before it was read', flush=True)
        elif ended:
            return
        else:
            time.sleep(POLL_SECS)

"""Evaluation of a run or of a frozen graph: prints the metrics and returns them."""

import os
from typing import Any, Optional

import tensorflow.compat.v1 as tf

from permafrost.datasets import loading
from permafrost.errors import UserError, one_line
from permafrost.evaluation import graph_def, inference_graph
from permafrost.evaluation.evaluator import Evaluator, evaluate_new_checkpoints
from permafrost.evaluation.metrics import BATCH_SIZE, Metrics, compute_metrics, format_metrics
from permafrost.training import checkpoints


def evaluate_run(run: str, session_config: Optional[tf.ConfigProto], step: Optional[int] = None,
                 continuous: bool = False, restart_timeout: float = 0., profile: bool = False,
                 require_same_data: bool = False, **options: Any) -> Metrics:
    """Evaluate the checkpoint of `run` at `step` (None: the last) and return its metrics.

    If `continuous`, evaluate each new one instead: see evaluate_new_checkpoints. `profile` also
    writes a trace of one batch. `options` are those of Evaluator. Raises UserError if
    `require_same_data` and the dataset has changed since the training.
    """
    metrics = None
    with Evaluator(run, session_config, **options) as evaluator:
        if require_same_data and not evaluator.same_data:
            raise UserError(f'the dataset has changed since {run} was trained on it: restore it, '
                            'or leave out --results')
        for metrics in (evaluate_new_checkpoints(evaluator, restart_timeout) if continuous else
                        [evaluator.evaluate(*checkpoints.find_checkpoint(run, step))]):
            print(format_metrics(metrics, evaluator.classes), flush=True)
        if metrics is None:
            raise UserError(f'the training in {run} ended without a checkpoint')
        if profile:
            print(f"trace: {evaluator.profile(metrics['step'])} (open it in chrome://tracing)")
        print(f"metrics: {os.path.join(evaluator.directory, 'metrics.jsonl')}")
    return metrics


def evaluate_frozen_graph(path: str, session_config: Optional[tf.ConfigProto],
                          image_size: Optional[int] = None, dataset: Optional[str] = None,
                          data_dir: Optional[str] = None, split: str = 'test',
                          batch_size: int = BATCH_SIZE, tta: str = 'none') -> Metrics:
    """Evaluate the frozen graph at `path`; see import_frozen_graph for `image_size`.

    Raises UserError if the file holds no graph, or one that cannot classify these images.
    """
    graph = graph_def.read_graph(path)
    data = loading.open_dataset(dataset or 'cifar10', data_dir)
    images, labels = loading.load(data, split)
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        inference = inference_graph.import_frozen_graph(graph, data, image_size)
        try:
            metrics = compute_metrics(session, inference, images, labels, batch_size, tta)
        except (tf.errors.OpError, ValueError) as error:
            raise UserError(f'{path} cannot run on these images: {one_line(error, 300)}')
    metrics.update(graph=path, split=split)
    print(format_metrics(metrics, data.classes))
    return metrics

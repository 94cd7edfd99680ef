"""Evaluation of a run or of a frozen graph: prints the metrics and returns them."""

import contextlib
import os
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple, Union

import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.datasets import loading
from permafrost.errors import OUT_OF_MEMORY, UserError, one_line, printable
from permafrost.evaluation import history
from permafrost.evaluation.evaluator import Evaluator, evaluate_new_checkpoints
from permafrost.evaluation.frozen_graphs import classification, graph_def
from permafrost.evaluation.frozen_graphs.classifier import Classifier
from permafrost.evaluation.frozen_graphs.frozen_graph import FrozenGraph
from permafrost.evaluation.frozen_graphs.graph_options import NO_OPTIONS, GraphOptions
from permafrost.evaluation.frozen_graphs.reading import model_card
from permafrost.evaluation.metrics import (
    BATCH_SIZE,
    Metrics,
    compute_metrics,
    format_classes,
    format_metrics,
    format_totals,
)
from permafrost.evaluation.runtimes import client
from permafrost.evaluation.runtimes.converted_model import ConvertedModel
from permafrost.evaluation.runtimes.served_graph import ServedGraph
from permafrost.training.checkpoints import finding


def evaluate_run(run: str, session_config: Optional[tf.ConfigProto],
                 step: Union[int, str, None] = None, continuous: bool = False,
                 restart_timeout: float = 0., profile: bool = False,
                 require_same_data: bool = False, **options: Any) -> Metrics:
    """Evaluate the checkpoint of `run` at `step` and return its metrics.

    `step` is None for the last, or finding.BEST. If `continuous`, evaluate each new one instead:
    see evaluate_new_checkpoints. `profile` also writes a trace of one batch. `options` are those of
    Evaluator. Raises UserError if `require_same_data` and the dataset has changed since the
    training.
    """
    metrics = None
    with Evaluator(run, session_config, **options) as evaluator:
        if require_same_data and not evaluator.same_data:
            raise UserError(f'the dataset has changed since {run} was trained on it: restore it, '
                            'or leave out --results')
        for metrics in (evaluate_new_checkpoints(evaluator, restart_timeout) if continuous else
                        [evaluator.evaluate(*finding.find_checkpoint(run, step))]):
            print(format_totals(metrics), flush=True)
        if metrics is None:
            raise UserError(f'the training in {run} ended without a checkpoint: continue it with '
                            '--resume, then evaluate again')
        print(format_classes(metrics, evaluator.classes), flush=True)
        if profile:
            trace = evaluator.profile(metrics['step'])
            print(f'trace: {printable(trace)} (open it in ui.perfetto.dev)')
        if evaluator.is_recorded:
            print('metrics:', printable(os.path.join(evaluator.directory, 'metrics.jsonl')))
    return metrics


def images_to_follow(run: str, dataset_name: Optional[str], data_dir: Optional[str]
                     ) -> Dict[str, Any]:
    """Return the options of Evaluator for a run that is followed: its dataset and the split.

    That is the test images; if there are none, the images held out.
    """
    config, _ = runs.read_config(run)
    dataset = loading.open_for_run(config, dataset_name, data_dir)
    has_test = dataset.counts['test'] or not config.validation
    return {'opened': dataset, 'split': 'test' if has_test else history.SELECTION_SPLIT}


def evaluate_frozen_graph(path: str, session_config: Optional[tf.ConfigProto],
                          options: GraphOptions = NO_OPTIONS, dataset: Optional[str] = None,
                          data_dir: Optional[str] = None, split: str = 'test',
                          batch_size: int = BATCH_SIZE, tta: str = 'none',
                          allow_any_op: bool = False, runtime: str = 'tensorflow') -> Metrics:
    """Evaluate the frozen graph at `path` in `runtime`; see FrozenGraph for `options`.

    Raises UserError if the file holds no graph, or one that cannot classify these images.
    """
    data = loading.open_dataset(dataset or 'cifar10', data_dir)
    images, labels = loading.load(data, split)
    with _opened(path, session_config, data, options, allow_any_op, runtime) as (session, frozen):
        check_classes(path, frozen.labels, data)
        try:
            metrics = compute_metrics(session, frozen, images, labels, batch_size, tta)
        except (tf.errors.OpError, ValueError) as error:
            raise _cannot_run(path, error)
    metrics.update(graph=path, split=split)
    lines = [f'graph: {model_card.read_model_card(path).title(path)}',
             f'dataset: {printable(data.name)} in {printable(data.directory)}', *frozen.describe()]
    if not frozen.labels:
        lines.append(f'classes: not named in the graph, those of '
                     f'{printable(data.name)} in their order')
    print('\n'.join([*lines, format_metrics(metrics, data.classes)]))
    return metrics


def classify_images(path: str, images: Sequence[str], session_config: Optional[tf.ConfigProto],
                    options: GraphOptions = NO_OPTIONS, top: int = 3,
                    allow_any_op: bool = False, runtime: str = 'tensorflow') -> int:
    """Print the `top` classes of each file in `images` by the frozen graph at `path`.

    Returns an exit code. Raises like evaluate_frozen_graph.
    """
    with _opened(path, session_config, None, options, allow_any_op, runtime) as (session, frozen):
        try:
            return classification.classify(
                session, frozen, model_card.read_model_card(path), images, top)
        except (tf.errors.OpError, ValueError) as error:
            raise _cannot_run(path, error)


def _cannot_run(path: str, error: Exception) -> UserError:
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return UserError(OUT_OF_MEMORY)
    return UserError(f'{path} cannot run on these images: {one_line(error, 300)}: check --node, '
                     '--output and --image_size')


@contextlib.contextmanager
def _opened(path: str, session_config: Optional[tf.ConfigProto], data: Optional[loading.Dataset],
            options: GraphOptions, allow_any_op: bool, runtime: str
            ) -> Iterator[Tuple[Optional[tf.Session], Classifier]]:
    """Open the graph at `path` in `runtime`: a session, and the network."""
    if runtime != 'tensorflow':
        with client.runtime(runtime) as child:
            model = ServedGraph if path.endswith('.pb') else ConvertedModel
            yield None, model(child, path, data, options)
        return
    graph = graph_def.read_graph(path, session_config)
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        yield session, FrozenGraph(graph, path, data, options, allow_any_op)


def check_classes(path: str, labels: Sequence[str], data: loading.Dataset) -> None:
    """Raise UserError if a graph names other classes than `data`, or in another order."""
    if not labels or list(labels) == list(data.classes):
        return
    if len(labels) != len(data.classes):
        difference = f'{len(labels)} classes instead of {len(data.classes)}'
    else:
        label, ours, its = next((number, *pair) for number, pair in
                                enumerate(zip(data.classes, labels)) if pair[0] != pair[1])
        is_reordered = sorted(labels) == sorted(data.classes)
        order = ', the same in another order' if is_reordered else ''
        difference = f"class {label} is {printable(its)} there and {printable(ours)} here{order}"
    raise UserError(f'{path} has different classes than {data.name} ({difference}): name the '
                    'dataset that it was trained on with --dataset')

"""The inference graph, and exact accuracy with it: once, or beside a running training."""

import os

import tensorflow.compat.v1 as tf

from permafrost.datasets import loading
from permafrost.errors import UserError
from permafrost.evaluation import graph_def, inference_graph, metrics
from permafrost.evaluation.evaluator import Evaluator, evaluate_new_checkpoints
from permafrost.experiments import results
from permafrost.training import checkpoints

def evaluate_run(run, session_config, step=None, following=False, patience=0., profile=False,
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
        for figures in (evaluate_new_checkpoints(evaluator, patience) if following else
                        [evaluator.evaluate(*checkpoints.find_checkpoint(run, step))]):
            print(metrics.format_metrics(figures, evaluator.extra['classes']), flush=True)
        if figures is None:
            raise UserError('the training in %s ended without a checkpoint' % run)
        if profile:
            print('trace: %s (open it in chrome://tracing)' % evaluator.profile(figures['step']))
        print('figures: %s' % os.path.join(evaluator.directory, 'metrics.jsonl'))
    if results_dir:
        print('result: %s' % results.record(results_dir, run, figures))


def evaluate_frozen_graph(path, session_config, image_size=None, dataset=None, data_dir=None,
                   split='test', batch_size=500, tta='none'):
    """What eval.py --graph does: evaluates the frozen graph at `path`; prints and returns figures.

    Args:
      image_size: see frozen_graph.
      data_set, data_dir, split: the images; of CIFAR-10 by default.
    """
    graph = graph_def.read_graph(path)
    dataset = loading.open_dataset(dataset or 'cifar10', data_dir)
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        inference = inference_graph.import_frozen_graph(graph, dataset, image_size)
        try:
            figures = metrics.compute_metrics(session, inference, *loading.load(dataset, split), batch_size, tta)
        except (tf.errors.OpError, ValueError) as error:
            raise UserError('%s cannot be run on these images: %s' % (
                path, ' '.join(str(error).split())[:300]))
    figures.update(graph=path, split=split)
    print(metrics.format_metrics(figures, dataset.classes))
    return figures

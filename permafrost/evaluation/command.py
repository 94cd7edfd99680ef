"""The evaluation that the flags of eval.py describe: of a run, or of a frozen graph.

Nothing here imports TensorFlow before the flags, the run or the file are known to be right.
"""

import contextlib
import os
import sys
from typing import Any, Dict, Optional, Sequence, Tuple

from absl import flags

from permafrost import engines, flags as shared_flags, runs
from permafrost.errors import UsageError, UserError, printable
from permafrost.evaluation.frozen_graphs import file_kinds
from permafrost.evaluation.frozen_graphs.graph_options import GraphOptions
from permafrost.evaluation.frozen_graphs.reading import isolation
from permafrost.evaluation.runtimes import client
from permafrost.evaluation.tta import TTA

flags.disclaim_key_flags()

SPLITS = ('test', 'validation', 'train')


def define_flags() -> None:
    """Define the flags of an evaluation."""
    shared_flags.define_checkpoint_flags()
    shared_flags.define_run_dataset_flags(' For a graph: cifar10.')
    flags.DEFINE_enum('split', 'test', SPLITS, 'Split of the dataset to evaluate on. validation: '
                      'the training images that the run held out.')
    flags.DEFINE_bool('follow', False, 'Keep evaluating new checkpoints until training ends.')
    flags.DEFINE_integer('batch_size', 500, 'Images per batch; does not affect the results.', 1)
    flags.DEFINE_enum('tta', 'none', list(TTA), 'Test-time augmentation: average the logits of '
                      'mirrored (flip) and shifted (flip_shift) images. Adds a second accuracy.')
    flags.DEFINE_bool('profile', False, 'Also write a trace of one batch for ui.perfetto.dev.')
    flags.DEFINE_string('results', None, 'Folder in which to also record the result of a finished '
                        'run.')
    flags.DEFINE_string('graph', None, 'Frozen graph to evaluate instead of a run: .pb, .pbtxt, a '
                        'SavedModel directory, .tflite, .onnx, a frozen run, or NAME in '
                        'trained_models/.')
    flags.DEFINE_multi_string('images', [], 'With --graph: classify these image files (PNG, JPEG '
                              'or BMP) instead, as label_image does')
    flags.DEFINE_integer('top', 3, 'With --images: number of classes to print.', 1)
    flags.DEFINE_enum('runtime', None, ['tensorflow', *client.RUNTIMES], 'With --graph: runtime to '
                      'use. Default: litert for .tflite, onnxruntime for .onnx, else tensorflow. '
                      'openvino runs .pb, .onnx and .tflite.')
    shared_flags.define_graph_flags()
    flags.DEFINE_bool('allow_any_op', False, 'With --graph, in TensorFlow: also run operations '
                      'that inference does not need. They can write files: do not use it for '
                      'untrusted graphs.')


def print_metrics(values: flags.FlagValues) -> Tuple[Optional[str], Dict[str, Any]]:
    """Print the metrics that the flags `values` ask for.

    Returns the run, None for a frozen graph, and the metrics. Raises UsageError if flags do not
    fit each other, UserError if a file cannot be read.
    """
    run, graph = None, ''
    if values.results and os.path.isfile(values.results):
        raise UsageError(f'--results={printable(values.results)} is a file: name a folder')
    if values.results and values.split != 'test':
        raise UsageError('--results records test accuracy: leave out --split')
    if values['top'].present:
        raise UsageError('--top needs --images')
    if not shared_flags.uses_frozen_graph(values):
        if values.follow and values.step is not None:
            raise UsageError('--follow evaluates every new checkpoint: leave --step out')
        run = values.run or runs.latest_run(values.log_dir)
        runs.read_config(run)  # report a wrong directory before the slow import
    else:
        if values.split == 'validation':
            raise UsageError('a frozen graph does not say which images its run held out: name the '
                             'run with --run to evaluate it on --split validation')
        graph = _graph_to_run(values)
    session_config = engines.prepare()
    from permafrost.evaluation import evaluate  # imports TensorFlow, after its threads are set
    images = {name: values[name].value
              for name in ('dataset', 'data_dir', 'split', 'batch_size', 'tta')}
    if run:
        return run, evaluate.evaluate_run(
            run, session_config, step=values.step, continuous=values.follow,
            profile=values.profile, require_same_data=bool(values.results),
            weights=values.weights, **images)
    return None, evaluate.evaluate_frozen_graph(
        graph, session_config, _graph_options(values), **images, allow_any_op=values.allow_any_op,
        runtime=client.runtime_of(graph, values.runtime))


def print_classes(values: flags.FlagValues, more_images: Sequence[str]) -> int:
    """Print the classes of the images that the flags and `more_images` name; return an exit code.

    Raises like `print_metrics`.
    """
    if not values.images:
        raise UsageError(shared_flags.unexpected_argument(more_images[0], values,
                                                          'image files follow --images'))
    if not shared_flags.uses_frozen_graph(values):
        raise UsageError('--images needs --graph: name a frozen graph, or a run that is frozen')
    for name in ('dataset', 'data_dir', 'split', 'batch_size', 'tta'):
        if name in shared_flags.explicitly_set(values):
            raise UsageError(f'--{name} applies to datasets: leave it out with --images')
    graph = _graph_to_run(values)
    with contextlib.redirect_stdout(sys.stderr):  # only the answer goes to stdout
        session_config = engines.prepare()
    from permafrost.evaluation import evaluate  # imports TensorFlow, after its threads are set
    return evaluate.classify_images(graph, [*values.images, *more_images], session_config,
                                    _graph_options(values), values.top, values.allow_any_op,
                                    client.runtime_of(graph, values.runtime))


def _graph_to_run(values: flags.FlagValues) -> str:
    """Return the graph that --graph names; go on in a child process if TensorFlow reads it.

    Of a run it is the frozen graph. Raises UserError if there is none, UsageError if there is a
    flag that its runtime does not have.
    """
    path = file_kinds.graph_file(values.graph)
    own = client.runtime_of(path, values.runtime) == 'tensorflow'
    for name in ('feed', 'allow_any_op'):
        if values[name].value and not own:
            raise UsageError(f'--{name} is for graphs that TensorFlow runs: leave it out')
    if not own:
        client.python(client.runtime_of(path, values.runtime))  # builds it; the child's log is held
    if own or path.endswith('.pb'):
        file_kinds.check_graph_file(path)
        isolation.continue_in_child(path)
        return path
    if not os.path.isfile(path):
        raise UserError(f'{path} does not exist: name another --graph, or freeze a run')
    return path


def _graph_options(values: flags.FlagValues) -> GraphOptions:
    return GraphOptions(**{name: values[name].value for name in shared_flags.GRAPH_FLAGS})

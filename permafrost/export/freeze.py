"""Freezing: a checkpoint becomes one file that classifies, without what only training needs.

    run -> inference graph -> constants -> graph passes -> verification -> file
"""

import gzip
import hashlib
import os
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost import engines, files, runs
from permafrost.config import Config
from permafrost.datasets import loading
from permafrost.errors import UserError, printable
from permafrost.evaluation import inference_graph
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.metrics import BATCH_SIZE, Metrics
from permafrost.export import channel_removal, fake_quant, graph_passes, layer_counts
from permafrost.export.conversion import output_paths, saved_model as saved_models
from permafrost.export.verify import verify
from permafrost.training.checkpoints import finding, saving
from permafrost.training.compression import pruning


def freeze(run: str, session_config: Optional[tf.ConfigProto], step: Union[int, str, None] = None,
           weights: Optional[str] = None, output: Optional[str] = None,
           saved_model: Optional[str] = None, data: Optional[loading.Dataset] = None
           ) -> Dict[str, Any]:
    """Freeze `run` to `output` and describe the file in a json file next to it.

    `step` may be finding.BEST. Defaults are the last step, the weights that eval.py uses,
    <run>/<model>.pb, and the dataset where training found it. A SavedModel is written too, to the
    new directory `saved_model`. Returns the value of the json file; without test images its
    accuracy is None. Raises UserError if a file cannot be read or written, or if the frozen graph
    fails verification.
    """
    config, extra = runs.read_config(run)
    output = output or os.path.join(run, config.model + '.pb')
    description = output_paths.description_path(output, config.model)
    if saved_model:
        output_paths.check_new(saved_model)
    step, checkpoint = finding.find_checkpoint(run, step)
    weights = weights or config.recipe.default_weights
    data = data or loading.open_for_run(config)
    runs.check_data(run, extra, data)
    graph, content, metrics, difference = _freeze_verified(
        config, data, checkpoint, weights, session_config)
    result = dict(
        _measure(graph, content), **_describe_run(run, config, extra, data), step=step,
        weights=weights, engine=engines.installed(), versions=engines.versions(),
        date=runs.utc_now(), **_accuracy_fields(metrics), largest_difference=difference)
    write({output: content, description: files.json_text(result)}, output)
    accuracy = (f"{metrics['correct']} of {metrics['images']} test images correct, accuracy "
                f"{metrics['accuracy']:.4f}" if metrics else
                f'{data.name} has no test images, so the accuracy is unknown')
    print(f'frozen: {printable(output)}, {len(content)} bytes: {accuracy}')
    if step < config.steps and runs.read_status(run).get('state') != 'done':
        print(f'note: {printable(run)} is at step {step} of {config.steps}')
    if saved_model:
        saved_models.write(graph, saved_model, session_config)
        print(f'saved_model: {printable(saved_model)}')
    return result


def _freeze_verified(
        config: Config, data: loading.Dataset, checkpoint: str, weights: str,
        session_config: Optional[tf.ConfigProto]
) -> Tuple[tf.GraphDef, bytes, Optional[Metrics], float]:
    """Return the frozen graph of a checkpoint, its bytes, its metrics and its largest difference.

    Without test images the metrics are None: those of training images would mislead. Raises
    UserError if it fails verification: see verify.
    """
    images, labels = _verification_images(data)
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        inference, graph = freeze_checkpoint(
            session, config, data.classes, data.image_shape, checkpoint, weights)
        expected = session.run(inference.predictions, {inference.images: images[:BATCH_SIZE]})
    content = graph.SerializeToString(deterministic=True)
    metrics, difference = verify(content, session_config, images, labels, expected)
    return graph, content, metrics if data.counts['test'] else None, difference


def _accuracy_fields(metrics: Optional[Metrics]) -> Dict[str, Any]:
    """Return the fields of the json file about the accuracy, which is unknown without `metrics`."""
    known = metrics or {'accuracy': None, 'correct': None, 'images': 0}
    return dict(accuracy=known['accuracy'], correct=known['correct'], images=known['images'],
                accuracy_of='this file, on the test images')


def _describe_run(run: str, config: Config, extra: Dict[str, Any],
                  data: loading.Dataset) -> Dict[str, Any]:
    """Return the fields of the json file about `run`, its config.json and its dataset."""
    return dict(
        model=config.model, run=os.path.normpath(run), recipe=config.recipe.name,
        dataset=data.name, dataset_identity=data.identity, classes=list(data.classes),
        image_shape=list(data.image_shape), image_size=config.recipe.image_size,
        trained_with=extra.get('versions', []))


def _measure(graph: tf.GraphDef, content: bytes) -> Dict[str, Any]:
    """Return the size, operations and checksum of a frozen graph, whose file has `content`."""
    layers, _ = layer_counts.count_layers(graph)
    return dict(
        layer_counts.totals(layers), op_types=layer_counts.op_types(graph), bytes=len(content),
        gzip_bytes=len(gzip.compress(content)), sparsity=layer_counts.sparsity(graph),
        sha256=hashlib.sha256(content).hexdigest())


def write(contents: Dict[str, files.Content], output: str) -> None:
    """Write {path: content}: all to temporary files first, then rename one after the other.

    `output` is the file that an error names. Raises UserError.
    """
    try:
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
        # A link, such as current.pb, stays one: its target is replaced.
        files.write_files_atomically({files.link_target(path): content
                                      for path, content in contents.items()})
    except OSError as error:
        raise UserError(f'cannot write {output} ({error.strerror}): name another --output')


def _verification_images(data: loading.Dataset) -> Tuple[np.ndarray, np.ndarray]:
    """Return all test images and their labels; if there are none, some training images and 0."""
    if data.counts['test']:
        return loading.load(data, 'test')
    images = loading.evenly_spaced(data, 'train', BATCH_SIZE)
    return images, np.zeros(len(images), np.int64)


def freeze_checkpoint(
        session: tf.Session, config: Config, classes: Sequence[str],
        image_shape: Tuple[int, int, int], checkpoint: str, weights: str
) -> Tuple[inference_graph.InferenceGraph, tf.GraphDef]:
    """Build the inference graph of a checkpoint in `session`; return it and its frozen graph."""
    inference = inference_graph.build_inference_graph(config, classes, image_shape)
    variables = inference_graph.checkpoint_variable_map(config, weights)
    saving.restore(tf.train.Saver(variables), session, checkpoint, variables)
    pruning.apply_masks(session, checkpoint, variables)
    graph = freeze_session(session, classes)
    if config.recipe.structured_sparsity:
        graph = channel_removal.remove_zero_channels(graph)
    return inference, graph


def freeze_session(session: tf.Session, classes: Sequence[str]) -> tf.GraphDef:
    """Return the frozen inference graph of `session`; `classes` become the node `labels`."""
    graph = tf.graph_util.convert_variables_to_constants(
        session, session.graph.as_graph_def(), ['probabilities'])
    graph.versions.CopyFrom(session.graph.graph_def_versions)  # TF 1.15 leaves them out
    graph = fake_quant.round_weights(graph, session)
    for graph_pass in graph_passes.PASSES:
        graph = graph_pass(graph)
    fake_quant.record_ranges(graph, session)
    graph.node.append(graph_def.const('labels', classes, tf.string))
    return graph

"""The frozen graph that is converted, and the images that its conversions are judged by."""

import hashlib
import os
from typing import Any, Dict, NamedTuple, Optional, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.datasets import loading
from permafrost.errors import UserError, one_line, printable
from permafrost.evaluation import inference_graph
from permafrost.evaluation.evaluate import check_classes
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.feeding.image_input import ImageInput
from permafrost.evaluation.frozen_graphs.graph_options import NO_OPTIONS
from permafrost.evaluation.frozen_graphs.nodes import output_shape, output_type
from permafrost.evaluation.frozen_graphs.reading import labels as class_labels
from permafrost.evaluation.frozen_graphs.reading.model_card import read_model_card
from permafrost.evaluation.metrics import BATCH_SIZE
from permafrost.export import layer_counts
from permafrost.export.conversion import network

CALIBRATION_IMAGES = 500


class SourceGraph(NamedTuple):
    """A frozen graph, and what its conversions are made and judged with."""
    path: str
    graph: tf.GraphDef
    classes: Sequence[str]
    calibration: np.ndarray  # uint8 [n, H, W, 3], evenly spaced training images
    images: np.ndarray  # uint8 [N, H, W, 3], all of the test split
    labels: np.ndarray  # int64 [N]
    is_test: bool  # False: there are no test images; these are the calibration images
    predicted: np.ndarray  # int64 [N], the classes that the frozen graph answers
    facts: Dict[str, Any]  # for each json

    @property
    def correct(self) -> int:
        return int((self.predicted == self.labels).sum())


def read(path: str, dataset: loading.Dataset,
         session_config: Optional[tf.ConfigProto]) -> SourceGraph:
    """Return the frozen graph at `path` with images of `dataset`, and what it answers.

    Raises UserError if Permafrost did not freeze it, or if its classes are not those of `dataset`.
    """
    count = len(dataset.classes)
    graph = graph_def.read_graph(path)
    network.extract(graph, 'images', path)  # report a foreign graph at once
    _check_size(path, graph, dataset)
    classes = class_labels.in_graph(graph)
    check_classes(path, classes, dataset)
    calibration = loading.evenly_spaced(dataset, 'train', CALIBRATION_IMAGES)
    is_test = bool(dataset.counts['test'])
    images, labels = (loading.load(dataset, 'test') if is_test else
                      (calibration, np.full(len(calibration), -1)))
    layers, _ = layer_counts.count_layers(graph)
    with open(path, 'rb') as stream:
        content = stream.read()
    facts = dict(
        layer_counts.totals(layers), model=read_model_card(path).model or _stem(path),
        classes=list(classes), image_shape=list(dataset.image_shape), dataset=dataset.name,
        dataset_identity=dataset.identity, input=_tensor('images', 'uint8', dataset.image_shape),
        output=_tensor('predictions', 'float32', [count]),
        source={'file': os.path.basename(path), 'sha256': hashlib.sha256(content).hexdigest()},
        preprocessing='in the file: it takes decoded images')
    try:
        logits = _logits(graph, images, session_config)
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(f'{printable(path)} cannot be run ({one_line(error)}): '
                        f'{network.OWN_GRAPHS_ONLY}')
    if logits.ndim != 2:
        raise UserError(f'{printable(path)} returns no row of logits for each image: '
                        f'{network.OWN_GRAPHS_ONLY}')
    if logits.shape[1] != count:
        raise UserError(f'{path} returns {logits.shape[1]} classes, but {dataset.name} has '
                        f'{count}: name the dataset that it was trained on with --dataset')
    return SourceGraph(path, graph, classes, calibration, images, labels, is_test,
                       logits.argmax(1), facts)


def _check_size(path: str, graph: tf.GraphDef, dataset: loading.Dataset) -> None:
    """Raise UserError unless `graph` is fed images of the size that `dataset` has."""
    images = next(node for node in graph.node if node.name == 'images')
    size = dataset.image_shape[0], dataset.image_shape[1]
    ImageInput(path, images.name, output_type(images), output_shape(images), NO_OPTIONS,
               size).check_dataset(dataset.name, size)


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _tensor(name: str, dtype: str, shape: Sequence[int]) -> Dict[str, Any]:
    return {'name': name, 'dtype': dtype, 'shape': [-1, *shape]}  # -1: any batch size


def _logits(graph: tf.GraphDef, images: np.ndarray,
            session_config: Optional[tf.ConfigProto]) -> np.ndarray:
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        inference = inference_graph.import_own_graph(graph)
        return np.concatenate([
            inference.logits(session, images[first:first + BATCH_SIZE])
            for first in range(0, len(images), BATCH_SIZE)])

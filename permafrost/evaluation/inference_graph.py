"""The inference graph: built for a checkpoint of a run, or imported from a frozen graph."""

from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

import models
from models.layers.net import Net
from permafrost.config import Config
from permafrost.datasets.loading import Dataset
from permafrost.errors import UsageError, UserError, printable
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.feed import feed_constants
from permafrost.evaluation.frozen_graphs.labels import class_names
from permafrost.evaluation.frozen_graphs.nodes import find_nodes, output_shape, output_type
from permafrost.evaluation.frozen_graphs.output import Output
from permafrost.evaluation.frozen_graphs.preprocessing import Preprocessing
from permafrost.evaluation.frozen_graphs.statement import NOTHING_STATED, Statement
from permafrost.inputs import augmentation


class InferenceGraph(NamedTuple):
    """The tensors of an inference graph. In ours each has the name of its field."""
    images: tf.Tensor  # uint8 [N, H, W, 3], as decoded
    inputs: Optional[tf.Tensor]  # float [N, h, w, 3], preprocessed; None inside an imported graph
    predictions: tf.Tensor  # float [N, classes], logits
    probabilities: tf.Tensor  # float [N, classes], their softmax

    @property
    def num_classes(self) -> int:
        return self.predictions.shape.as_list()[1]

    @property
    def has_probabilities(self) -> bool:
        """True: the logits have a cross entropy."""
        return True

    def logits(self, session: tf.Session, images: np.ndarray) -> np.ndarray:
        """Return the logits float [N, classes] of uint8 images."""
        return session.run(self.predictions, {self.images: images})


def build_inference_graph(config: Config, classes: Sequence[str],
                          image_shape: Tuple[int, int, int]) -> InferenceGraph:
    """Build preprocessing and network in the default graph, for images (H, W, 3) as decoded."""
    images = tf.placeholder(tf.uint8, (None,) + tuple(image_shape), name='images')
    inputs = tf.identity(augmentation.preprocess_eval(images, config.recipe, config.statistics),
                         name='inputs')
    logits = models.build(config.model, Net(training=False, num_classes=len(classes)), inputs)
    logits = tf.identity(logits, name='predictions')
    return InferenceGraph(images, inputs, logits, tf.nn.softmax(logits, name='probabilities'))


def import_own_graph(graph: tf.GraphDef) -> InferenceGraph:
    """Import a frozen graph that freeze wrote into the default graph."""
    graph_def.import_graph(graph)
    return InferenceGraph(*(tf.get_default_graph().get_tensor_by_name(name + ':0')
                            for name in InferenceGraph._fields))


def checkpoint_variable_map(config: Config, weights: str) -> Dict[str, tf.Variable]:
    """Return {name in the checkpoint: variable of the default graph}, 'averaged' or 'raw'.

    Moving statistics have no average: they are not trained. Raises UserError if the recipe keeps
    none.
    """
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    if weights == 'averaged':
        if not config.recipe.ema_decay:
            raise UserError('this run keeps no averages: use --weights=raw')
        for variable in tf.trainable_variables():
            name = variable.op.name
            variables[name + '/ExponentialMovingAverage'] = variables.pop(name)
    return variables


def default_weights(config: Config) -> str:
    """Return the weights that a run is judged by: 'averaged' if its recipe averages, else 'raw'."""
    return 'averaged' if config.recipe.ema_decay else 'raw'


class FrozenGraph:
    """A frozen graph of any origin, in the default graph: a function from images to logits."""

    def __init__(self, graph: tf.GraphDef, path: str, dataset: Dataset,
                 stated: Statement = NOTHING_STATED, allow_any_op: bool = False):
        """Import what `graph` has between the nodes to feed and to fetch.

        `path` names it in messages; `stated` is what the user says of it. Raises UsageError if that
        leaves out what the graph does not say: one message names all that is missing. Raises
        UserError if the graph does not fit the images of `dataset`.
        """
        self._path, self._dataset = path, dataset
        self._preprocessing = Preprocessing(stated.standardize, stated.input_mean,
                                            stated.input_std)
        graph = feed_constants(graph, path, stated.feed)
        self._nodes = find_nodes(graph, path, stated.node, stated.output)
        self._output = Output(graph, path, self._nodes, stated.output_kind)
        self.labels = class_names(graph, path, stated.labels)
        nodes = {node.name: node for node in graph.node}
        fed = nodes.get(self._nodes.input)
        self._is_raw, shape = self._read_input(fed, self._infer_shape(graph, fed, allow_any_op))
        self._side = self._find_side(shape, stated.image_size)
        self._ask_for_missing()
        self._fixed_batch = shape[0] if shape else None
        dtype = tf.uint8 if self._is_raw else tf.float32
        placeholder = tf.NodeDef(name=fed.name, op='Placeholder')
        placeholder.attr['dtype'].type = dtype.as_datatype_enum
        placeholder.attr['shape'].shape.CopyFrom(
            tf.TensorShape([None, self._side, self._side, 3]).as_proto())
        fed.CopyFrom(placeholder)
        subgraph = graph_def.extract_subgraph(graph, [self._nodes.output])
        graph_def.import_graph(subgraph, None, path, allow_any_op)
        # Dropout that is switched off draws numbers, too.
        self._may_be_random = not allow_any_op and any(
            each.op == 'RandomUniform' for each in subgraph.node)

    def _infer_shape(self, graph: tf.GraphDef, node: Optional[tf.NodeDef],
                     allow_any_op: bool) -> Any:
        """Return the shape of `node`: what it says, or what TensorFlow infers from `images`."""
        shape = node and output_shape(node)
        if node is None or shape is not None or node.name == 'images' or not any(
                each.name == 'images' for each in graph.node):
            return shape
        with tf.Graph().as_default() as imported:
            subgraph = graph_def.extract_subgraph(graph, [node.name])
            graph_def.import_graph(subgraph, None, self._path, allow_any_op)
            shape = imported.get_tensor_by_name(node.name + ':0').shape
            return None if shape.ndims is None else shape.as_list()

    def _read_input(self, node: Optional[tf.NodeDef], shape: Any) -> Tuple[bool, Any]:
        """Return whether `node` receives uint8, and its shape [N, side, side, 3], checked."""
        if node is None:
            return False, None
        kind = output_type(node)
        is_raw = kind == tf.uint8.as_datatype_enum or (not kind and self._nodes.is_own)
        if not is_raw and kind not in (0, tf.float32.as_datatype_enum):
            raise UserError(f"{self._path}: node '{node.name}' has type {tf.as_dtype(kind).name}, "
                            'but only uint8 images and float32 can be fed')
        if is_raw and self._preprocessing.is_stated:
            raise UsageError('--standardize, --input_mean and --input_std are for graphs that are '
                             f'fed floats: {self._path} receives pixels as they are')
        if shape is not None and not (len(shape) == 4 and shape[0] != 0 and shape[1] == shape[2]
                                      and shape[1] != 0 and shape[3] in (3, None)):
            sizes = ['N' if not i and size is None else '?' if size is None else str(size)
                     for i, size in enumerate(shape)]
            raise UserError(f"{self._path}: node '{node.name}' has shape [{', '.join(sizes)}], but "
                            'only square images [N, size, size, 3] can be fed')
        return is_raw, shape

    def _find_side(self, shape: Any, image_size: Optional[int]) -> Optional[int]:
        in_graph = shape[1] if shape else None
        if self._is_raw and self._nodes.is_own:
            if image_size is not None:
                raise UsageError('--image_size is for graphs without a node `images`: '
                                 f'{self._path} crops images itself')
            in_graph = in_graph or self._dataset.image_shape[0]
        if in_graph and image_size not in (None, in_graph):
            raise UsageError(f'{self._path} expects images of {in_graph}x{in_graph}, but '
                             f'--image_size is {image_size}')
        side, sides = in_graph or image_size, self._dataset.image_shape[:2]
        if side and (side > min(sides) or (self._is_raw and set(sides) != {side})):
            raise UserError(f'{self._path} expects images of {side}x{side}, but those of '
                            f"{self._dataset.name} are {'x'.join(map(str, sides))}")
        return side

    def _ask_for_missing(self) -> None:
        missing = list(self._nodes.questions)
        is_unknown = not self._nodes.input
        if not self._side and not is_unknown:
            missing.append('--image_size N')
        if not self._is_raw and not self._preprocessing.is_stated:
            missing.append('--standardize per_image|none, or --input_mean M --input_std S')
        if missing:
            place = '' if is_unknown else f" is fed at '{self._nodes.input}' and"
            raise UsageError(f"{self._path}{place} does not say all that is needed: add "
                             + ' '.join(missing))

    @property
    def num_classes(self) -> int:
        return len(self._dataset.classes)

    @property
    def has_probabilities(self) -> bool:
        return self._output.has_probabilities

    def logits(self, session: tf.Session, images: np.ndarray) -> np.ndarray:
        """Return logits float [N, classes] of uint8 images; see Output.read for other scores."""
        # A graph of fixed batch size may have it in a Reshape, too: feed it exactly so many images.
        size = self._fixed_batch or len(images)
        if self._may_be_random:
            self._may_be_random = False
            first, second = (self._run(session, images[:size], size) for _ in range(2))
            if not np.array_equal(first, second):
                raise UserError(f'{self._path} gives another answer in each run: RandomUniform is '
                                'not allowed in inference (--allow_any_op runs it anyway): switch '
                                'dropout off, e.g. with --feed')
        logits = np.concatenate([self._run(session, images[first:first + size], size)
                                 for first in range(0, len(images), size)])
        if logits.shape[1] != self.num_classes:
            raise UserError(f'{self._path} returns {logits.shape[1]} classes, but '
                            f'{self._dataset.name} has {self.num_classes}')
        return logits

    def _run(self, session, images, size):
        used = len(images)
        images = np.concatenate([images, np.repeat(images[:1], size - used, 0)])
        if not self._is_raw:
            top, left = ((sides - self._side) // 2 for sides in images.shape[1:3])
            images = self._preprocessing.apply(
                images[:, top:top + self._side, left:left + self._side])
        values = session.run(self._nodes.output + ':0', {self._nodes.input + ':0': images})
        return self._output.read(values, size)[:used]

    def describe(self) -> str:
        """Return lines of text, after the first run: the graph and what was taken for granted."""
        lines = [f'graph: {printable(self._path)}']
        if not (self._nodes.is_own and self._is_raw and self._output.kind == 'logits'):
            lines += [f"input: {printable(self._nodes.input)[:100]}, "
                      f"{'uint8' if self._is_raw else 'float32'} "
                      f'[N, {self._side}, {self._side}, 3], {self._preprocessing}',
                      f'output: {self._output}']
        if self._nodes.defaults:
            lines.append(f"defaults of the graph: {printable(', '.join(self._nodes.defaults))} "
                         '(--feed changes them)')
        if not self.labels:
            lines.append(f'classes: not named in the graph, taken in the order of '
                         f'{self._dataset.name}')
        return '\n'.join(lines)

"""FrozenGraph: a frozen graph of any origin as a function from images to logits."""

from typing import List, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.datasets.loading import Dataset
from permafrost.errors import UserError, printable
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.classifier import Classifier
from permafrost.evaluation.frozen_graphs.feeding.feed import feed_constants
from permafrost.evaluation.frozen_graphs.feeding.image_input import ImageInput
from permafrost.evaluation.frozen_graphs.feeding.layout import Shape
from permafrost.evaluation.frozen_graphs.graph_options import (
    NO_OPTIONS,
    GraphOptions,
    raise_if_missing,
)
from permafrost.evaluation.frozen_graphs.nodes import find_nodes, output_shape, output_type
from permafrost.evaluation.frozen_graphs.output import Output, find_source_op
from permafrost.evaluation.frozen_graphs.reading import labels

UNKNOWN_SHAPE_VERSION = 24  # before it, placeholders of unknown shape were written as scalars


class FrozenGraph(Classifier):
    """A frozen graph in the default graph. `input` says what it is fed, `labels` its classes."""

    def __init__(self, graph: tf.GraphDef, path: str, dataset: Optional[Dataset] = None,
                 options: GraphOptions = NO_OPTIONS, allow_any_op: bool = False):
        """Import what `graph` has between the nodes to feed and to fetch.

        `path` names it in messages; `options` describe it; the images are those of
        `dataset`, or come from files. Raises UsageError if what is needed is neither in the graph
        nor stated: one message names all that is missing. Raises UserError if images cannot be fed,
        or those of `dataset` do not fit.
        """
        super().__init__(path, dataset)
        graph = feed_constants(graph, path, options.feed)
        self._nodes = find_nodes(graph, path, options.node, options.output)
        if not self._nodes.input:
            raise_if_missing(path, '', list(self._nodes.missing_flags))
        graph = feed_constants(graph, path, self._nodes.assumed)
        self.output = Output(path, self._nodes, find_source_op(graph, self._nodes.output),
                             options.output_kind)
        self.labels = (labels.in_file(options.labels) if options.labels else
                       labels.in_graph(graph))
        fed = next(node for node in graph.node if node.name == self._nodes.input)
        size = dataset and dataset.image_shape[:2]
        self.input = ImageInput(path, fed.name, output_type(fed),
                                self._infer_shape(graph, fed, allow_any_op), options, size)
        raise_if_missing(path, fed.name, [*self._nodes.missing_flags, *self.input.missing_flags()])
        if dataset:
            self.input.check_dataset(dataset.name, dataset.image_shape[:2])
        placeholder = tf.NodeDef(name=fed.name, op='Placeholder')
        placeholder.attr['dtype'].type = self.input.dtype.as_datatype_enum
        placeholder.attr['shape'].shape.CopyFrom(tf.TensorShape(self.input.shape()).as_proto())
        fed.CopyFrom(placeholder)
        subgraph = graph_def.extract_subgraph(graph, [self._nodes.output])
        graph_def.import_graph(subgraph, path, allow_any_op)
        # Dropout that is switched off draws numbers, too.
        self._may_be_random = not allow_any_op and any(
            each.op == 'RandomUniform' for each in subgraph.node)

    def _infer_shape(self, graph: tf.GraphDef, node: tf.NodeDef, allow_any_op: bool) -> Shape:
        """Return the shape of `node`: what it says, or what TensorFlow infers from `images`."""
        shape = output_shape(node)
        if shape == [] and graph.versions.producer < UNKNOWN_SHAPE_VERSION:
            shape = None
        if shape is not None or node.name == 'images' or not any(
                each.name == 'images' for each in graph.node):
            return shape
        with tf.Graph().as_default() as imported:
            subgraph = graph_def.extract_subgraph(graph, [node.name])
            graph_def.import_graph(subgraph, self.path, allow_any_op)
            inferred = imported.get_tensor_by_name(node.name + ':0').shape
            return None if inferred.ndims is None else inferred.as_list()

    def run(self, session: Optional[tf.Session], images: np.ndarray, size: int) -> np.ndarray:
        """Return the output for uint8 images. Raises UserError if it differs from run to run."""
        batches = [self.input.feed(images[first:first + size])
                   for first in range(0, len(images), size)]
        self._check_repeats(session, batches[0])
        return np.concatenate([self._fetch(session, fed) for fed in batches])

    def _fetch(self, session, fed):
        """Return the output of the graph, with a dimension for the images."""
        values = np.asarray(self._values(session, fed))
        is_row = values.ndim == 0 or (values.ndim == 1 and not self.input.layout.is_batched)
        return values[None] if is_row else values

    def _values(self, session, fed):
        return session.run(self._nodes.output + ':0', {self._nodes.input + ':0': fed})

    def _check_repeats(self, session, fed):
        """Raise UserError, at the first call, if two runs give two answers."""
        if not self._may_be_random:
            return
        self._may_be_random = False
        first, second = (self._fetch(session, fed) for _ in range(2))
        if not np.array_equal(first, second):
            raise UserError(f'{self.path} gives a different answer on every run: RandomUniform is '
                            'not allowed in inference (--allow_any_op runs it anyway): switch '
                            'dropout off, e.g. with --feed')

    def describe(self) -> List[str]:
        """Return lines of text, after the first run: what was found in the graph and assumed."""
        lines = super().describe()
        for title, names in (('assumed', self._nodes.assumed),
                             ('defaults of the graph', self._nodes.defaults)):
            if names:
                lines.append(f"{title}: {printable(', '.join(names))} "
                             f"(--feed changes {'it' if len(names) == 1 else 'them'})")
        return lines

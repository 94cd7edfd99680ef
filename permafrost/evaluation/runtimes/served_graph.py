"""ServedGraph: a frozen graph that TensorFlow has read and checked, and another runtime runs."""

import os
from typing import Optional

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.datasets.loading import Dataset
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.evaluation.frozen_graphs.frozen_graph import FrozenGraph
from permafrost.evaluation.frozen_graphs.graph_options import NO_OPTIONS, GraphOptions
from permafrost.evaluation.runtimes import client


class ServedGraph(FrozenGraph):
    """A frozen graph that a child runs: it receives only what FrozenGraph lets pass."""

    def __init__(self, child: client.Child, path: str, dataset: Optional[Dataset] = None,
                 options: GraphOptions = NO_OPTIONS):
        """Read the graph at `path`, which `child` is to run. Raises like FrozenGraph."""
        with tf.Graph().as_default() as graph:
            super().__init__(graph_def.read_graph(path), path, dataset, options)
        self._child, self._file = child, os.path.join(child.folder, 'graph.pb')
        with open(self._file, 'wb') as stream:
            stream.write(graph.as_graph_def().SerializeToString())

    def _values(self, session: Optional[tf.Session], fed: np.ndarray) -> np.ndarray:
        size = len(fed) if self.input.batch else min(len(fed), client.BATCH_SIZE)
        return client.predict(self._child, self._file, fed, size, self._nodes.output + ':0')

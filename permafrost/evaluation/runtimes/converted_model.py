"""ConvertedModel: a .tflite or .onnx file as a function from images to logits."""

import os
from typing import Optional

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.datasets.loading import Dataset
from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.feeding.image_input import ImageInput
from permafrost.evaluation.frozen_graphs.labels import class_names
from permafrost.evaluation.frozen_graphs.nodes import Nodes
from permafrost.evaluation.frozen_graphs.output import Output
from permafrost.evaluation.frozen_graphs.statement import NOTHING_STATED, Statement
from permafrost.evaluation.runtimes import client
from permafrost.evaluation.runtimes.classifier import Classifier


class ConvertedModel(Classifier):
    """A file that another runtime runs."""

    def __init__(self, child: client.Child, path: str, dataset: Optional[Dataset] = None,
                 stated: Statement = NOTHING_STATED):
        """Ask `child`, a runtime, for the input of the file at `path`.

        Raises UserError if the runtime cannot open it, or images cannot be fed to it.
        """
        super().__init__(path, dataset)
        self._child = child
        facts = child.ask(describe=os.path.abspath(path))
        name, output = (_plain(facts['input']['name']), _plain(facts['output']))
        shape = [None if size < 0 else size for size in facts['input']['shape']]
        self.input = ImageInput(path, name, tf.as_dtype(facts['input']['dtype']).as_datatype_enum,
                                shape, stated, dataset and dataset.image_shape[:2])
        questions = self.input.questions()
        if questions:
            raise UserError(f'{path} does not say all that is needed: add ' + ' '.join(questions))
        if dataset:
            self.input.check_dataset(dataset.name, dataset.image_shape[:2])
        if self.input.is_own:  # the interface of freeze_graph.py
            output = 'predictions'
        self.output = Output(tf.GraphDef(), path, Nodes(name, output), stated.output_kind)
        self.labels = class_names(tf.GraphDef(), path, stated.labels) or facts['labels']

    def run(self, session: Optional[tf.Session], images: np.ndarray, size: int) -> np.ndarray:
        """Return the output for uint8 images; there is no `session`."""
        if self.input.layout.is_batched:
            return client.predict(self._child, self.path, self.input.feed(images),
                                  self.input.batch or min(size, client.BATCH_SIZE))
        answers = [client.predict(self._child, self.path, fed, len(fed))  # all of it at once
                   for fed in map(self.input.feed, images[:, None])]
        return np.concatenate([np.atleast_2d(answer) for answer in answers])


def _plain(name: str) -> str:
    """Return the name of an input or output without what a converter adds."""
    prefix = 'serving_default_'
    name = name[len(prefix):] if name.startswith(prefix) else name
    return name[:-2] if name.endswith(':0') else name

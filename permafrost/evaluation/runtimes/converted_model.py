"""ConvertedModel: a .tflite or .onnx file as a function from images to logits."""

import os
from typing import Any, List, Optional, Tuple

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


class ConvertedModel:
    """A file that another runtime runs, with the interface of FrozenGraph."""

    def __init__(self, child: client.Child, path: str, dataset: Optional[Dataset] = None,
                 stated: Statement = NOTHING_STATED):
        """Ask `child`, a runtime, for the input of the file at `path`.

        Raises UserError if the runtime cannot open it, or images cannot be fed to it.
        """
        self.path, self._child, self._dataset = path, child, dataset
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

    @property
    def num_classes(self) -> int:
        """The number of classes of the dataset."""
        assert self._dataset
        return len(self._dataset.classes)

    @property
    def has_probabilities(self) -> bool:
        """True if the logits have a cross entropy."""
        return self.output.has_probabilities

    def logits(self, unused_session: Any, images: np.ndarray) -> np.ndarray:
        """Return logits float [N, classes] of uint8 images; see Output.read for other scores."""
        return self.output.read(*self._run(images))

    def probabilities(self, unused_session: Any, images: np.ndarray) -> np.ndarray:
        """Return what label_image prints for uint8 images: float32 [N, classes]."""
        return self.output.probabilities(*self._run(images))

    def _run(self, images: np.ndarray) -> Tuple[np.ndarray, int]:
        """Return what the file returns for images, and their number."""
        size = self.input.batch or client.BATCH_SIZE
        fed = self.input.feed(images)
        missing = -len(fed) % size if self.input.batch else 0
        fed = np.concatenate([fed, np.repeat(fed[:1], missing, 0)])
        return client.predict(self._child, self.path, fed, size)[:len(images)], len(images)

    def describe(self) -> List[str]:
        """Return lines of text, after the first run: the input and output, if they are not ours."""
        if self.input.is_own and self.input.is_raw and self.output.kind == 'logits':
            return []
        return [f'input: {self.input}', f'output: {self.output}']


def _plain(name: str) -> str:
    """Return the name of an input or output without what a converter adds."""
    prefix = 'serving_default_'
    name = name[len(prefix):] if name.startswith(prefix) else name
    return name[:-2] if name.endswith(':0') else name

"""Classifier: a graph, in whichever runtime, as a function from images to logits."""

import abc
from typing import List, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.datasets.loading import Dataset
from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.feeding.image_input import ImageInput
from permafrost.evaluation.frozen_graphs.output import Output


class Classifier(abc.ABC):
    """A graph that `input` feeds and `output` reads; `labels` are the names of its classes."""
    input: ImageInput
    output: Output
    labels: Sequence[str]

    def __init__(self, path: str, dataset: Optional[Dataset]):
        """`path` names the graph in messages. Without `dataset` the images come from files."""
        self.path, self._dataset = path, dataset

    @abc.abstractmethod
    def run(self, session: Optional[tf.Session], images: np.ndarray, size: int) -> np.ndarray:
        """Return the output [N, ...] for uint8 images [N, H, W, 3], fed `size` at a time."""

    @property
    def num_classes(self) -> int:
        """The number of classes of the dataset."""
        assert self._dataset
        return len(self._dataset.classes)

    @property
    def has_probabilities(self) -> bool:
        """True if the logits have a cross entropy."""
        return self.output.has_probabilities

    def logits(self, session: Optional[tf.Session], images: np.ndarray) -> np.ndarray:
        """Return logits float [N, classes] of uint8 images; see Output.read for other scores."""
        logits = self.output.read(*self._answers(session, images))
        if logits.shape[1] != self.num_classes:
            raise UserError(f'{self.path} returns {logits.shape[1]} classes, but '
                            f'{self._dataset.name if self._dataset else ""} has '
                            f'{self.num_classes}: name its dataset with --dataset')
        return logits

    def probabilities(self, session: Optional[tf.Session], images: np.ndarray) -> np.ndarray:
        """Return what label_image prints for uint8 images: float32 [N, classes]."""
        return self.output.probabilities(*self._answers(session, images))

    def describe(self) -> List[str]:
        """Return lines of text, after the first run: input and output, if they are not ours."""
        if self.input.is_own and self.output.kind == 'logits':
            return []
        return [f'input: {self.input}', f'output: {self.output}']

    def _answers(self, session: Optional[tf.Session], images: np.ndarray
                 ) -> Tuple[np.ndarray, int]:
        """Return the output for `images`, and their number."""
        # A graph of fixed batch size may have it in a Reshape, too: feed exactly that many images.
        size = self.input.batch or len(images)
        filled = np.concatenate([images, np.repeat(images[:1], -len(images) % size, 0)])
        values = self.run(session, filled, size)
        return values[:len(images)] if len(values) == len(filled) else values, len(images)

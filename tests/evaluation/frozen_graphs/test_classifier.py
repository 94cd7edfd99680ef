"""Classifier: batches as the graph takes them, and outputs that do not fit."""

import types

import numpy as np
import pytest

from permafrost.errors import UserError
from permafrost.evaluation.frozen_graphs.classifier import Classifier
from permafrost.evaluation.frozen_graphs.nodes import Nodes
from permafrost.evaluation.frozen_graphs.output import Output

IMAGES = np.random.RandomState(1).randint(0, 256, (5, 4, 4, 3)).astype(np.uint8)


class Colours(Classifier):
    """The logits of a class are a colour of the first pixel; `rows` of them for each image."""

    def __init__(self, batch, classes=3, rows=1):
        super().__init__('a.tflite', types.SimpleNamespace(name='d', classes=['c'] * classes))
        self.input = types.SimpleNamespace(batch=batch)
        self.output = Output(self.path, Nodes('x', 'y'), '', 'logits')
        self.fed, self._rows = [], rows

    def run(self, session, images, size):
        self.fed.append((len(images), size))
        return np.repeat(images[:, 0, 0].astype(np.float32), self._rows, 0)


@pytest.mark.parametrize('batch, fed', [(None, (5, 5)), (2, (6, 2)), (5, (5, 5)), (8, (8, 8))])
def test_batches_are_filled_and_each_image_is_answered(batch, fed):
    model = Colours(batch)
    np.testing.assert_array_equal(model.logits(None, IMAGES), IMAGES[:, 0, 0])
    powers = np.exp(IMAGES[:, 0, 0] - IMAGES[:, 0, 0].max(1, keepdims=True).astype(float))
    np.testing.assert_allclose(model.probabilities(None, IMAGES),
                               powers / powers.sum(1, keepdims=True), atol=1e-6)
    assert model.fed == [fed, fed]


@pytest.mark.parametrize('batch', [None, 2])
def test_other_outputs_than_one_row_for_each_image_are_refused(batch):
    with pytest.raises(UserError, match='for 5 images, not a row of floats for each'):
        Colours(batch, rows=2).logits(None, IMAGES)


def test_other_classes_than_those_of_the_dataset_are_refused():
    with pytest.raises(UserError, match='a.tflite returns 3 classes, but d has 10'):
        Colours(None, classes=10).logits(None, IMAGES)

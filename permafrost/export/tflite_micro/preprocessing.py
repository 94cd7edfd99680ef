"""Preprocessing for a microcontroller: what computes `inputs` from `images`, found in a graph.

The crop is the centre, as everywhere. What follows it is found by running the graph and checked
against it, so it holds for graphs of which the recipe is not known.
"""

import abc
from typing import Any, Dict, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost.errors import UserError, printable
from permafrost.evaluation.frozen_graphs import graph_def

TOLERANCE = 1e-4  # of normalized values, which are about 1


class Preprocessing(abc.ABC):
    """A crop to the centre and a normalization. Images are H x W x 3, inputs h x w x 3."""
    name = ''  # as in recipes

    def __init__(self, image_shape: Tuple[int, ...], input_shape: Tuple[int, ...]):
        self.image_shape, self.input_shape = image_shape, input_shape
        self.top, self.left = ((image_shape[i] - input_shape[i]) // 2 for i in (0, 1))

    def crop(self, images: np.ndarray) -> np.ndarray:
        """Return the centres of images [N, H, W, 3]."""
        height, width = self.input_shape[:2]
        return images[:, self.top:self.top + height, self.left:self.left + width]

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Return the inputs, float64 [N, h, w, 3], of uint8 images [N, H, W, 3]."""
        return self.normalize(self.crop(images).astype(np.float64))

    @abc.abstractmethod
    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Return cropped images, normalized."""

    def to_json(self) -> Dict[str, Any]:
        """Return the facts for a json file: input = (pixel - mean) / deviation, after the crop."""
        return {'inside': False, 'normalize': self.name,
                'crop': {'top': self.top, 'left': self.left, 'height': self.input_shape[0],
                         'width': self.input_shape[1]}}

    def quantize(self, inputs: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
        """Return the int8 numbers that stand for `inputs`: value = (number - zero_point) * scale.
        """
        numbers = np.floor(np.asarray(inputs) / scale + 0.5) + zero_point
        return np.clip(numbers, -128, 127).astype(np.int8)


class PerChannel(Preprocessing):
    """Input = (pixel - mean) / deviation, of a channel."""
    name = 'per_channel'

    def __init__(self, image_shape: Tuple[int, ...], input_shape: Tuple[int, ...],
                 black: np.ndarray, white: np.ndarray):
        """`black` and `white` are the inputs of such images, float [h, w, 3]."""
        super().__init__(image_shape, input_shape)
        difference = white.astype(np.float64).mean((0, 1)) - black.mean((0, 1))
        self.deviation = 255 / np.where(difference == 0, 1, difference)
        self.mean = -black.mean((0, 1), dtype=np.float64) * self.deviation

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        return (pixels - self.mean) / self.deviation

    def to_json(self) -> Dict[str, Any]:
        return dict(super().to_json(), mean=[round(float(each), 4) for each in self.mean],
                    deviation=[round(float(each), 4) for each in self.deviation])


class PerImage(Preprocessing):
    """Mean 0 and deviation 1 of each image, after the crop."""
    name = 'per_image'

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        axes = (1, 2, 3)
        centred = pixels - pixels.mean(axes, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axes, keepdims=True))
        return centred / np.maximum(deviation, pixels[0].size ** -0.5)


def find(graph: tf.GraphDef, images: np.ndarray, path: str = 'the graph',
         session_config: Optional[tf.ConfigProto] = None) -> Preprocessing:
    """Return the preprocessing of one of our frozen graphs, checked with uint8 `images`.

    Raises UserError if it is another than those of this module; `path` names the graph.
    """
    flat = np.stack([np.zeros_like(images[0]), np.full_like(images[0], 255)])
    with tf.Graph().as_default() as imported, tf.Session(config=session_config) as session:
        graph_def.import_graph(graph_def.extract_subgraph(graph, ['inputs']), path)
        fed, fetched = (imported.get_tensor_by_name(name + ':0') for name in ('images', 'inputs'))
        (black, white), expected = (session.run(fetched, {fed: each}) for each in (flat, images))
    shapes = images.shape[1:], expected.shape[1:]
    for found in (PerChannel(*shapes, black, white), PerImage(*shapes)):
        if np.abs(found.apply(images) - expected).max() < TOLERANCE:
            return found
    raise UserError(f'{printable(path)}: its preprocessing is neither per_channel nor per_image, '
                    'the two for which there is C code: use --formats tflite, or train with one '
                    'of them')

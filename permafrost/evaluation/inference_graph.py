"""The inference graph: built for a checkpoint of a run, or imported from a graph of ours."""

from typing import Dict, NamedTuple, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

import models
from models.layers.fake_quant import FakeQuant
from models.layers.net import Net
from permafrost.config import Config
from permafrost.errors import UserError, one_line
from permafrost.evaluation.frozen_graphs import graph_def
from permafrost.inputs import augmentation
from permafrost.training.optimization import weight_averaging


class InferenceGraph(NamedTuple):
    """The tensors of an inference graph. In ours each has the name of its field."""
    images: tf.Tensor  # uint8 [N, H, W, 3], as decoded
    inputs: tf.Tensor  # float [N, h, w, 3], preprocessed
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
    """Build preprocessing and network in the default graph, for images (H, W, 3) as decoded.

    Raises UserError if the model cannot have the images of the recipe.
    """
    images = tf.placeholder(tf.uint8, (None,) + tuple(image_shape), name='images')
    inputs = tf.identity(augmentation.preprocess_eval(images, config.recipe, config.statistics),
                         name='inputs')
    fake_quant = FakeQuant(training=False) if config.recipe.quantization_aware_epochs else None
    net = Net(training=False, num_classes=len(classes), fake_quant=fake_quant)
    try:
        logits = models.build(config.model, net, inputs)
    except ValueError as error:
        size = config.recipe.image_size
        raise UserError(f'{config.model} cannot be built for images of {size}x{size} '
                        f'({one_line(error)}): restore the config.json of this run')
    logits = tf.identity(logits, name='predictions')
    return InferenceGraph(images, inputs, logits, tf.nn.softmax(logits, name='probabilities'))


def import_own_graph(graph: tf.GraphDef) -> InferenceGraph:
    """Import a frozen graph that freeze wrote into the default graph."""
    graph_def.import_graph(graph)
    return InferenceGraph(*(tf.get_default_graph().get_tensor_by_name(name + ':0')
                            for name in InferenceGraph._fields))


def checkpoint_variable_map(config: Config, weights: str) -> Dict[str, tf.Variable]:
    """Return {name in the checkpoint: variable of the default graph}, 'averaged' or 'raw'.

    Raises UserError if the recipe keeps no averages.
    """
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    if weights == 'averaged':
        if not config.recipe.ema_decay:
            raise UserError('this run keeps no averages: use --weights=raw')
        for variable in weight_averaging.averaged_variables(config):
            name = variable.op.name
            variables[f'{name}/{weight_averaging.NAME}'] = variables.pop(name)
    return variables

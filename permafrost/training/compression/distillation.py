"""Distillation: a student learns the soft targets of a teacher (Hinton 2015, arXiv:1503.02531)."""

import hashlib
import os
from typing import NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from permafrost import files, runs
from permafrost.recipes.recipe import Recipe


class Teacher(NamedTuple):
    """The teacher network, a frozen graph: without variables, so checkpoints do not hold it."""
    source: str  # where it is from, for messages
    content: bytes  # of the file
    graph: tf.GraphDef  # computes `predictions` from `images`
    classes: Tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """The checksum of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def logits(self, images: tf.Tensor) -> tf.Tensor:
        """Return the teacher's logits, float32 [B, classes], of uint8 [B, H, W, 3]."""
        logits, = tf.import_graph_def(self.graph, {'images:0': images}, ['predictions:0'],
                                      name='teacher')
        logits.set_shape([images.shape.as_list()[0], None])
        return logits

    def save(self, run: str) -> None:
        """Write the file to the directory `run`."""
        files.write_atomically(os.path.join(run, runs.TEACHER), self.content)


def soft_loss(recipe: Recipe, logits: tf.Tensor, teacher_logits: tf.Tensor) -> tf.Tensor:
    """Return the divergence of the student's soft predictions from the teacher's, float32 [B].

    It is the Kullback-Leibler divergence of the softmaxes at the recipe's temperature T, times T^2:
    so its gradient is as large as that of the labels at any T (section 2 of the paper).
    """
    temperature = recipe.distillation_temperature
    targets = tf.nn.softmax(teacher_logits / temperature)
    cross_entropy, entropy = (
        tf.nn.softmax_cross_entropy_with_logits_v2(labels=targets, logits=each / temperature)
        for each in (logits, teacher_logits))
    return temperature ** 2 * (cross_entropy - entropy)

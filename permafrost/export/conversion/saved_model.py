"""SavedModel: the directory that TensorFlow Serving and Keras read."""

import os
import tempfile
from typing import Any, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from permafrost import files
from permafrost.errors import UserError, one_line
from permafrost.evaluation import inference_graph
from permafrost.evaluation.metrics import BATCH_SIZE
from permafrost.export.conversion import output_paths


def write(graph: tf.GraphDef, directory: str, session_config: Optional[tf.ConfigProto]) -> None:
    """Write a SavedModel of a frozen graph to the new `directory`, which appears when complete.

    The disk has its files before it has the name, and the name when this returns.
    Raises UserError if it exists, or cannot be written.
    """
    output_paths.check_new(directory)
    parent = os.path.dirname(os.path.abspath(directory))
    try:
        files.make_folder(parent)
        with tempfile.TemporaryDirectory(dir=parent, prefix='.saved_model') as temporary, \
                tf.Graph().as_default(), tf.Session(config=session_config) as session:
            tensors = inference_graph.import_own_graph(graph)
            signature = tf.saved_model.predict_signature_def(
                {'images': tensors.images},
                {'probabilities': tensors.probabilities, 'predictions': tensors.predictions})
            model = os.path.join(temporary, 'model')
            builder = tf.saved_model.Builder(model)
            builder.add_meta_graph_and_variables(
                session, [tf.saved_model.SERVING],
                {tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature},
                strip_default_attrs=True)
            builder.save()
            for folder, _, names in os.walk(model):
                for path in (*(os.path.join(folder, name) for name in names), folder):
                    files.sync(path)
            os.rename(model, directory)
            files.sync(parent)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, 'strerror', None) or one_line(error)
        raise UserError(f'cannot write {directory} ({reason}): name another place')


def predict(directory: str, images: np.ndarray,
            session_config: Optional[tf.ConfigProto]) -> np.ndarray:
    """Return the logits, float32 [N, classes], of a SavedModel for uint8 images."""
    with tf.Graph().as_default(), tf.Session(config=session_config) as session:
        loaded: Any = tf.saved_model.loader.load(session, [tf.saved_model.SERVING], directory)
        signature = loaded.signature_def[tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY]
        return np.concatenate([
            session.run(signature.outputs['predictions'].name,
                        {signature.inputs['images'].name: images[first:first + BATCH_SIZE]})
            for first in range(0, len(images), BATCH_SIZE)])


def content(directory: str) -> bytes:
    """Return the content of its file, which holds the constants too."""
    with open(os.path.join(directory, 'saved_model.pb'), 'rb') as stream:
        return stream.read()

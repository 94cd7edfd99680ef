"""SavedModel: the frozen graph in the format of TensorFlow Serving."""

import os
import shutil
import tempfile
from typing import Optional

import tensorflow.compat.v1 as tf

from permafrost.errors import UserError, one_line
from permafrost.evaluation import graph_def, inference_graph


def write_saved_model(graph: tf.GraphDef, directory: str,
                      session_config: Optional[tf.ConfigProto]) -> None:
    """Write a SavedModel to the new `directory`, which appears when it is complete."""
    directory = os.path.abspath(directory)
    temporary = None
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        temporary = tempfile.mkdtemp(dir=os.path.dirname(directory), prefix='.saved_model')
        os.chmod(temporary, 0o755)
        with tf.Graph().as_default(), tf.Session(config=session_config) as session:
            graph_def.import_graph(graph)
            tensors = inference_graph.tensors_by_name(session.graph)
            signature = tf.saved_model.predict_signature_def(
                {'images': tensors.images},
                {'probabilities': tensors.probabilities, 'predictions': tensors.predictions})
            builder = tf.saved_model.Builder(os.path.join(temporary, 'model'))
            builder.add_meta_graph_and_variables(
                session, [tf.saved_model.SERVING],
                {tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature},
                strip_default_attrs=True)
            builder.save()
        os.rename(os.path.join(temporary, 'model'), directory)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, 'strerror', None) or one_line(error)
        raise UserError(f'cannot write {directory} ({reason}): name another --saved_model')
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)

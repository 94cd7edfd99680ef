"""Saved model."""

import os
import shutil
import tempfile

import tensorflow.compat.v1 as tf

from permafrost.errors import UserError
from permafrost.evaluation import graph_def
from permafrost.export import graph_passes

def write_saved_model(graph, directory, session_config):
    """A SavedModel in the new `directory`, which appears whole or not at all."""
    directory = os.path.abspath(directory)
    temporary = None
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        temporary = tempfile.mkdtemp(dir=os.path.dirname(directory), prefix='.saved_model')
        os.chmod(temporary, 0o755)
        with tf.Graph().as_default(), tf.Session(config=session_config) as session:
            graph_def.import_graph(graph)
            tensors = {name: session.graph.get_tensor_by_name(name + ':0') for name in graph_passes.INTERFACE_NODES}
            signature = tf.saved_model.predict_signature_def(
                {'images': tensors['images']},
                {name: tensors[name] for name in ('probabilities', 'predictions')})
            builder = tf.saved_model.Builder(os.path.join(temporary, 'model'))
            builder.add_meta_graph_and_variables(
                session, [tf.saved_model.SERVING],
                {tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature},
                strip_default_attrs=True)
            builder.save()
        os.rename(os.path.join(temporary, 'model'), directory)
    except (OSError, tf.errors.OpError) as error:
        raise UserError('cannot write %s (%s): name another --saved_model' % (
            directory, getattr(error, 'strerror', None) or ' '.join(str(error).split())[:200]))
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)

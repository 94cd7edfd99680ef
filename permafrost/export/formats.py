"""The formats that freezing writes next to the frozen graph, each with a flag of its name.

Importing this module does not import TensorFlow, so that a wrong flag fails at once.
"""

import os
import tempfile
from typing import Any, Callable, Dict, NamedTuple

from absl import flags

from permafrost.errors import UserError, one_line

flags.disclaim_key_flags()


class Format(NamedTuple):
    """A format: the help of its flag, and the function that writes it."""
    help: str
    write: Callable[[Any, str, Any], None]  # of the frozen tf.GraphDef, a path, a tf.ConfigProto


def write_saved_model(graph: Any, directory: str, session_config: Any) -> None:
    """Write a SavedModel to the new `directory`, which appears when it is complete."""
    import tensorflow.compat.v1 as tf

    from permafrost.evaluation import inference_graph
    parent = os.path.dirname(os.path.abspath(directory))
    try:
        os.makedirs(parent, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix='.saved_model') as temporary, \
                tf.Graph().as_default(), tf.Session(config=session_config) as session:
            tensors = inference_graph.import_own_graph(graph)
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


FORMATS: Dict[str, Format] = {
    'saved_model': Format('Also write a SavedModel for TensorFlow Serving to this new directory.',
                          write_saved_model),
}


def define_flags() -> None:
    """Define a flag for each format: the path to write it to."""
    for name, each in FORMATS.items():
        flags.DEFINE_string(name, None, each.help)


def chosen(values: Any) -> Dict[str, str]:
    """Return {name: path} of the formats that the flags (absl FlagValues) ask for."""
    return {name: values[name].value for name in FORMATS if values[name].value}

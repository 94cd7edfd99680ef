"""Whether a checkpoint fits a graph. Restoring itself would not say: a resource variable takes
whatever shape it is given."""

import tensorflow.compat.v1 as tf

from permafrost.config import UserError


def check(checkpoint, variables):
    """Raises UserError naming the first of `variables` that the checkpoint cannot fill.

    Args:
      checkpoint: path prefix.
      variables: {name in the checkpoint: variable}.
    """
    try:
        shapes = tf.train.load_checkpoint(checkpoint).get_variable_to_shape_map()
    except tf.errors.OpError as error:
        raise UserError('%s cannot be read (%s): delete its files to use the one before' % (
            checkpoint, ' '.join(str(error).split())[:200]))
    for name, variable in sorted(variables.items()):
        found, wanted = shapes.get(name), variable.shape.as_list()
        if found != wanted:
            raise UserError('%s does not fit this model: %s is %s there, %s here; name the run '
                            'of this model, or start another' % (
                                checkpoint, name,
                                'missing' if found is None else 'of shape %s' % found, wanted))

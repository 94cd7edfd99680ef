"""Checkpoints to go on from: those that are there, and whether they fit the graph."""

import os

import tensorflow.compat.v1 as tf

from permafrost.config import UserError


def check(checkpoint, variables):
    """Raises UserError naming the first of `variables` that the checkpoint cannot fill.

    Restoring itself would not: a resource variable takes whatever shape it is given.

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


def restore(saver, session, checkpoint, variables):
    """Fills `variables`, which `saver` restores, from the checkpoint; see check."""
    check(checkpoint, variables)
    try:
        saver.restore(session, checkpoint)
    except (ValueError, tf.errors.OpError) as error:
        raise UserError('%s cannot be restored: %s' % (
            checkpoint, ' '.join(str(error).split())[:300]))


def take_up(saver, paths):
    """Lets `saver`, and the session that restores, know of the checkpoints `paths`, oldest first.

    The state file may name one that was deleted since, and the saver of a new process would
    neither count nor ever delete those of the one before.
    """
    tf.train.update_checkpoint_state(
        os.path.abspath(os.path.dirname(paths[-1])), os.path.basename(paths[-1]),
        [os.path.basename(path) for path in paths])
    saver.recover_last_checkpoints(paths)

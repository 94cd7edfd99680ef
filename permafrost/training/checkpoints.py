"""Checkpoints: when they are saved, how many are kept, how they are found, checked and restored."""

import glob
import os
import re
import time

import tensorflow.compat.v1 as tf

from permafrost import runs
from permafrost.errors import UsageError, UserError
from permafrost.training import hooks

PREFIX = 'model.ckpt'

def list_checkpoints(run):
    """{step: path prefix} of the complete checkpoints of `run`, oldest first."""
    found = {}
    for path in glob.glob(os.path.join(glob.escape(runs.train_dir(run)), PREFIX + '-*.index')):
        number = re.search(PREFIX + r'-(\d+)\.index$', path)
        if number:  # else it is a copy that somebody made
            found[int(number.group(1))] = path[:-len('.index')]
    return dict(sorted(found.items()))


def find_checkpoint(run, step=None):
    """(step, path prefix) of the checkpoint at `step`, None: the last.

    Raises UserError where there is none; it lists those there are.
    """
    found = list_checkpoints(run)
    if not found:
        raise UserError('no checkpoint in %s yet: train first, or wait for the first save'
                        % runs.train_dir(run))
    step = max(found) if step is None else step
    if step not in found:
        raise UsageError('no checkpoint of step %d in %s (there are: %s)' % (
            step, runs.train_dir(run), ', '.join(map(str, found))))
    return step, found[step]


def verify_compatible(checkpoint, variables):
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
    verify_compatible(checkpoint, variables)
    try:
        saver.restore(session, checkpoint)
    except (ValueError, tf.errors.OpError) as error:
        raise UserError('%s cannot be restored: %s' % (
            checkpoint, ' '.join(str(error).split())[:300]))


def adopt_existing(saver, paths):
    """Lets `saver`, and the session that restores, know of the checkpoints `paths`, oldest first.

    The state file may name one that was deleted since, and the saver of a new process would
    neither count nor ever delete those of the one before.
    """
    tf.train.update_checkpoint_state(
        os.path.abspath(os.path.dirname(paths[-1])), os.path.basename(paths[-1]),
        [os.path.basename(path) for path in paths])
    saver.recover_last_checkpoints(paths)


class CheckpointHook(tf.train.SessionRunHook):
    """Saves at the start, every `steps` steps, every `secs` seconds and at the end.

    `finite` is a bool tensor: False stops before anything but finite weights is saved.
    `saved(step)` is called after each checkpoint, `divergence(step)` makes the UserError.
    """

    def __init__(self, step, saver, prefix, steps, secs, finite, saved, divergence):
        self._step = step
        self._saver = saver
        self._prefix = prefix
        self._steps = steps
        self._secs = secs
        self._finite = finite
        self._saved = saved
        self._divergence = divergence
        self._last = None

    def after_create_session(self, session, unused_coord):
        step = int(session.run(tf.train.get_global_step()))
        if not tf.train.checkpoint_exists('%s-%d' % (self._prefix, step)):
            self._save(session, step)  # a full disk is found now, not an hour later
        self._last, self._time = step, time.time()

    def before_run(self, unused_context):
        return tf.train.SessionRunArgs(self._step)

    def after_run(self, context, values):
        step = int(values.results)
        if (self._steps and hooks._passed(self._last, step, self._steps) or
                self._secs and time.time() - self._time >= self._secs):
            self._save(context.session, step)

    def end(self, session):
        step = int(session.run(tf.train.get_global_step()))
        if step != self._last:
            self._save(session, step)

    def _save(self, session, step):
        if not session.run(self._finite):
            raise self._divergence(step)
        self._saver.save(session, self._prefix, global_step=step, write_meta_graph=False)
        self._last, self._time = step, time.time()
        self._saved(step)

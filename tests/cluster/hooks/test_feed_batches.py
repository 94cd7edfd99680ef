"""The batches that a worker feeds, over lost steps and lost sessions."""

from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from permafrost.cluster.hooks import feed_batches


def _numbers(step):
    """Build a pipeline whose k-th batch is (k, -k), from `step` on."""
    count = tf.Variable(step, trainable=False, collections=[tf.GraphKeys.LOCAL_VARIABLES])
    number = count.assign_add(1) - 1
    return number, -number


def _feed(hook):
    args = hook.before_run(None)
    assert args.fetches is hook.step
    return [args.feed_dict[placeholder] for placeholder in hook.placeholders]


def test_a_step_that_was_not_made_gets_its_batch_again(default_graph):
    step = tf.train.get_or_create_global_step()
    hook = feed_batches.FeedBatchesHook(_numbers, tf.ConfigProto())
    hook.step = tf.identity(step)
    assert [each.dtype for each in hook.placeholders] == [tf.int64, tf.int64]
    with tf.Session() as session:
        step.load(5, session)
        hook.after_create_session(session, None)
        assert _feed(hook) == [5, -5]
        hook.after_run(None, SimpleNamespace(results=6))
        assert _feed(hook) == [6, -6]
        hook.after_run(None, SimpleNamespace(results=6))  # the update was dropped
        assert _feed(hook) == [6, -6]
        hook.after_run(None, SimpleNamespace(results=7))
        assert _feed(hook) == [7, -7]
        # The cluster lost its session, and a checkpoint was restored.
        step.load(3, session)
        hook.after_create_session(session, None)
        assert _feed(hook) == [3, -3]
        hook.close()
        hook.close()


@pytest.mark.parametrize('is_sync, expected', [(True, 9), (False, 6)])
def test_batches_of_steps_that_others_made_are_left_out_in_sync_mode(
        default_graph, is_sync, expected):
    """A backup worker that was slow continues with the last step."""
    step = tf.train.get_or_create_global_step()
    hook = feed_batches.FeedBatchesHook(_numbers, tf.ConfigProto(), is_sync)
    hook.step = tf.identity(step)
    with tf.Session() as session:
        step.load(5, session)
        hook.after_create_session(session, None)
        assert _feed(hook) == [5, -5]
        hook.after_run(None, SimpleNamespace(results=9))
        assert _feed(hook) == [expected, -expected]
        hook.after_run(None, SimpleNamespace(results=10))
        assert _feed(hook) == [expected + 1, -expected - 1]
        hook.close()

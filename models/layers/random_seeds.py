"""Random streams keyed by (seed, name, step): any step's numbers can be made again."""

import zlib

import tensorflow.compat.v1 as tf


def seeds(seed, name, step=0):
    """The two seeds of a stateless op, int64 [2].

    `seed` and `name` are Python values, `step` may be a scalar tensor. The name, not the
    order in which ops are made, tells streams apart: an unrelated op changes nothing.
    """
    return tf.stack([tf.constant(zlib.crc32(('%d/%s' % (seed, name)).encode()), tf.int64),
                     tf.cast(step, tf.int64)])

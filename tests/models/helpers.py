"""Helpers of the tests of layers: random numbers, windows of convolutions and pools, evaluation."""

import numpy as np
import tensorflow.compat.v1 as tf


def same(length, size, stride):
    """Return the output length, and the padding in front, of SAME as TensorFlow documents it."""
    out = -(-length // stride)
    return out, max((out - 1) * stride + size - length, 0) // 2


def windows(x, size, stride):
    """Return {(i, j): (the slice of x [N, H, W, C] under output i, j, its row and its column)}.

    Row and column are those of the slice within the window, not 0 where the window is padded.
    """
    (rows, top), (columns, left) = (same(n, size, stride) for n in x.shape[1:3])
    result = {}
    for i in range(rows):
        for j in range(columns):
            y, z = i * stride - top, j * stride - left
            under = x[:, max(y, 0):y + size, max(z, 0):z + size]
            result[i, j] = under, max(-y, 0), max(-z, 0)
    return result


def randoms(*shape):
    """Return fixed standard normal numbers, float32."""
    return np.random.RandomState(3).randn(*shape).astype(np.float32)


def evaluate(*tensors, feed=None):
    """Return the values of tensors of the default graph, with variables at their initial values."""
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tensors, feed)


def convolved(x, w):
    """Return the SAME convolution of stride 1, without a bias."""
    y = np.zeros(x.shape[:3] + w.shape[3:])
    for (i, j), (under, top, left) in windows(x, w.shape[0], 1).items():
        y[:, i, j] = np.tensordot(under, w[top:top + under.shape[1], left:left + under.shape[2]], 3)
    return y

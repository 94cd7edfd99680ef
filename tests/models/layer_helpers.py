"""What the tests of layers share: numbers, and the windows that convolutions and pools see."""

import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_eager_execution()
tf.enable_resource_variables()


def same(length, size, stride):
    """Output length and padding before of SAME, as TensorFlow documents it."""
    out = -(-length // stride)
    return out, max((out - 1) * stride + size - length, 0) // 2


def windows(x, size, stride):
    """{(i, j): the part of x [N, H, W, C] under output i, j, and where it lies in the window}."""
    (rows, top), (columns, left) = (same(n, size, stride) for n in x.shape[1:3])
    result = {}
    for i in range(rows):
        for j in range(columns):
            y, z = i * stride - top, j * stride - left
            part = x[:, max(y, 0):y + size, max(z, 0):z + size]
            result[i, j] = part, max(-y, 0), max(-z, 0)
    return result


def randoms(*shape):
    return np.random.RandomState(3).randn(*shape).astype(np.float32)


def evaluate(*tensors, **feeds):
    """Values of tensors of the default graph, its variables as they begin."""
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tensors, feeds.get('feed'))


def convolved(x, w):
    """A convolution of stride 1, SAME, without a bias."""
    y = np.zeros(x.shape[:3] + w.shape[3:])
    for (i, j), (part, top, left) in windows(x, w.shape[0], 1).items():
        y[:, i, j] = np.tensordot(part, w[top:top + part.shape[1], left:left + part.shape[2]], 3)
    return y

"""First weights by name: `glorot_normal`, `he_normal`, `dirac`, or with a number, `normal:0.05`.

Each depends on the shape and on two seeds alone. Shapes are [k, k, in, out] for convolutions,
[k, k, in, 1] for depthwise ones, [in, out] for fully connected layers; `fans` are the numbers of
weights into and out of a unit.
"""

import math

import numpy as np
import tensorflow.compat.v1 as tf

TRUNCATED_STD = 0.87962566103423978  # of a unit normal without what lies beyond 2


def _truncated(shape, seeds, std):
    return tf.random.stateless_truncated_normal(shape, seeds, stddev=std / TRUNCATED_STD)


def _uniform(shape, seeds, limit):
    return tf.random.stateless_uniform(shape, seeds, -limit, limit)


def glorot_normal(shape, fans, seeds):
    """A truncated normal of variance 2 / (fan in + fan out) (Glorot and Bengio 2010)."""
    return _truncated(shape, seeds, math.sqrt(2. / sum(fans)))


def glorot_uniform(shape, fans, seeds):
    """Uniform, of variance 2 / (fan in + fan out)."""
    return _uniform(shape, seeds, math.sqrt(6. / sum(fans)))


def he_normal(shape, fans, seeds):
    """A normal of variance 2 / fan in (He et al. 2015, https://arxiv.org/abs/1502.01852)."""
    return tf.random.stateless_normal(shape, seeds, stddev=math.sqrt(2. / fans[0]))


def he_normal_out(shape, fans, seeds):
    """A normal of variance 2 / fan out, which keeps the size of gradients (the same paper)."""
    return tf.random.stateless_normal(shape, seeds, stddev=math.sqrt(2. / fans[1]))


def fan_in_uniform(shape, fans, seeds):
    """Uniform between -1 / sqrt(fan in) and 1 / sqrt(fan in): what PyTorch's layers begin with."""
    return _uniform(shape, seeds, fans[0] ** -0.5)


def normal(shape, unused_fans, seeds, std):
    """A normal of deviation `std`."""
    return tf.random.stateless_normal(shape, seeds, stddev=std)


def uniform(shape, unused_fans, seeds, std):
    """Uniform, of deviation `std`."""
    return _uniform(shape, seeds, math.sqrt(3.) * std)


def dirac(shape, fans, seeds):
    """The first `in` filters of a convolution pass on a channel each; the others are drawn.

    As in https://arxiv.org/abs/2404.00498: the drawn ones are those of fan_in_uniform.
    """
    height, width, channels, filters = shape
    kept = min(channels, filters)
    identity = np.zeros(shape, np.float32)
    identity[height // 2, width // 2, range(kept), range(kept)] = 1
    drawn = tf.constant(np.arange(filters) >= kept, tf.float32)
    return identity + drawn * fan_in_uniform(shape, fans, seeds)


INITIALIZERS = {function.__name__: function for function in (
    glorot_normal, glorot_uniform, he_normal, he_normal_out, fan_in_uniform, normal, uniform,
    dirac)}


def initialize(text, shape, seeds, depthwise=False):
    """First float32 weights of `shape`, as `text` says. Raises ValueError for unknown text."""
    name, _, number = text.partition(':')
    if name not in INITIALIZERS:
        raise ValueError('unknown initializer %r (there are: %s)' % (
            text, ', '.join(sorted(INITIALIZERS))))
    area = int(np.prod(shape[:-2]))
    fans = (area, area) if depthwise else (area * shape[-2], area * shape[-1])
    return INITIALIZERS[name](shape, fans, seeds, *([float(number)] if number else []))

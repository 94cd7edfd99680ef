"""Initial weights by name: `glorot_normal`, `dirac`, or with a parameter, `normal:0.05`.

They depend only on the shape and on two seeds. Shapes are [k, k, in, out] for convolutions,
[k, k, in, 1] for depthwise ones, [in, out] for fully connected layers; `fans` are the numbers of
weights into and out of a unit.
"""

import math
from typing import Callable, Dict, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

TRUNCATED_STD = 0.87962566103423978  # of a standard normal, truncated at 2
Fans = Tuple[int, int]  # in, out


def glorot_normal(shape: Sequence[int], fans: Fans, seeds: tf.Tensor) -> tf.Tensor:
    """Return a truncated normal of variance 2 / (fan in + fan out) (Glorot and Bengio 2010)."""
    std = math.sqrt(2. / sum(fans))
    return tf.random.stateless_truncated_normal(shape, seeds, stddev=std / TRUNCATED_STD)


def he_normal(shape: Sequence[int], fans: Fans, seeds: tf.Tensor) -> tf.Tensor:
    """Return a normal of variance 2 / fan in (He et al. 2015, https://arxiv.org/abs/1502.01852)."""
    return normal(shape, fans, seeds, math.sqrt(2. / fans[0]))


def he_normal_fan_out(shape: Sequence[int], fans: Fans, seeds: tf.Tensor) -> tf.Tensor:
    """Return a normal of variance 2 / fan out, which preserves the size of gradients."""
    return normal(shape, fans, seeds, math.sqrt(2. / fans[1]))


def pytorch_default(shape: Sequence[int], fans: Fans, seeds: tf.Tensor) -> tf.Tensor:
    """Return a uniform between -1 / sqrt(fan in) and 1 / sqrt(fan in)."""
    limit = fans[0] ** -0.5
    return tf.random.stateless_uniform(shape, seeds, -limit, limit)


def normal(shape: Sequence[int], unused_fans: Fans, seeds: tf.Tensor, std: float) -> tf.Tensor:
    """Return a normal of standard deviation `std`."""
    return tf.random.stateless_normal(shape, seeds, stddev=std)


def uniform(shape: Sequence[int], unused_fans: Fans, seeds: tf.Tensor, std: float) -> tf.Tensor:
    """Return a uniform of standard deviation `std`, around 0."""
    limit = math.sqrt(3.) * std
    return tf.random.stateless_uniform(shape, seeds, -limit, limit)


def dirac(shape: Sequence[int], fans: Fans, seeds: tf.Tensor) -> tf.Tensor:
    """Return filters of which the first `in` pass on a channel each (arXiv:2404.00498).

    The others are those of pytorch_default.
    """
    height, width, channels, filters = shape
    count = min(channels, filters)
    identity = np.zeros(shape, np.float32)
    identity[height // 2, width // 2, range(count), range(count)] = 1
    is_random = tf.constant(np.arange(filters) >= count, tf.float32)
    return identity + is_random * pytorch_default(shape, fans, seeds)


INITIALIZERS: Dict[str, Callable[..., tf.Tensor]] = {
    'glorot_normal': glorot_normal, 'he_normal': he_normal, 'he_normal_fan_out': he_normal_fan_out,
    'pytorch_default': pytorch_default, 'normal': normal, 'uniform': uniform, 'dirac': dirac}


def initialize(text: str, shape: Sequence[int], seeds: tf.Tensor,
               depthwise: bool = False) -> tf.Tensor:
    """Return initial float32 weights of `shape` by the initializer `text`. Raises ValueError."""
    name, _, number = text.partition(':')
    if name not in INITIALIZERS:
        raise ValueError(f"unknown initializer {text!r} (choose from: "
                         f"{', '.join(sorted(INITIALIZERS))})")
    area = int(np.prod(shape[:-2]))
    fans = (area, area) if depthwise else (area * shape[-2], area * shape[-1])
    return INITIALIZERS[name](shape, fans, seeds, *([float(number)] if number else []))

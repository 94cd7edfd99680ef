"""Schedules: the factor of a recipe's learning rate by the epoch, written as a line of text.

    constant
    steps 82:0.1 123:0.01         the factor from that epoch on; 1 before
    linear 0:0 5:1 24:0           straight between those epochs, constant outside
    one_cycle 5                   from 0 up to 1 at epoch 5, down to 0 at the recipe's last epoch
    one_cycle 5 0.1 0.01          the same from 0.1, down to 0.01 (Smith, arXiv:1708.07120)
    cosine 5                      as one_cycle, but down in half a cosine (arXiv:1608.03983)
    exponential 0.5 25            halves every 25 epochs, smoothly
    staircase 0.5 25              halves at every 25th epoch

Nothing here imports TensorFlow.
"""

import collections
import math

import numpy as np

from permafrost.errors import UsageError, unknown_name_error

# What a schedule computes with: numpy for numbers, tensorflow for tensors.
Ops = collections.namedtuple('Ops', 'minimum maximum where cos floor exp')
NUMPY = Ops(np.minimum, np.maximum, np.where, np.cos, np.floor, np.exp)


def tensors():
    """The Ops of tensors."""
    import tensorflow.compat.v1 as tf
    return Ops(tf.minimum, tf.maximum, tf.where_v2, tf.cos, tf.floor, tf.exp)


def _points(words):
    """[(epoch, factor)] of words 'epoch:factor', in the order of epochs."""
    points = [tuple(float(number) for number in word.split(':')) for word in words]
    if not points or any(len(point) != 2 for point in points):
        raise ValueError('it takes epoch:factor, once or more')
    if [epoch for epoch, _ in points] != sorted({epoch for epoch, _ in points}):
        raise ValueError('its epochs must rise')
    return points


def _between(points):
    """The function that is straight between `points`."""
    def factor(ops, epoch):
        value = points[0][1]
        for (start, low), (stop, high) in zip(points, points[1:]):
            part = ops.minimum(ops.maximum(epoch - start, 0.), stop - start) / (stop - start)
            value = value + (high - low) * part
        return value
    return factor


def constant(unused_last):
    return lambda ops, epoch: 1.


def steps(unused_last, *words):
    points = _points(words)

    def factor(ops, epoch):
        value = one = 1. + 0. * epoch  # of the precision of `epoch`
        for start, now in points:
            value = ops.where(epoch >= start, now * one, value)
        return value
    return factor


def linear(unused_last, *words):
    return _between(_points(words))


def one_cycle(last, peak, first='0', final='0'):
    peak = float(peak)
    if not 0 < peak < last:
        raise ValueError('its peak must be within the %g epochs' % last)
    return _between([(0., float(first)), (peak, 1.), (last, float(final))])


def cosine(last, peak='0', first='0', final='0'):
    peak, final = float(peak), float(final)
    if not 0 <= peak < last:
        raise ValueError('its peak must be within the %g epochs' % last)
    rise = _between([(0., float(first)), (peak, 1.)] if peak else [(0., 1.)])
    fall = _between([(peak, 0.), (last, math.pi)])
    return lambda ops, epoch: rise(ops, epoch) * (
        final + (1 - final) * (0.5 + 0.5 * ops.cos(fall(ops, epoch))))


def exponential(unused_last, by, every='1'):
    rate = math.log(float(by)) / float(every)
    return lambda ops, epoch: ops.exp(rate * epoch)


def staircase(unused_last, by, every='1'):
    rate, every = math.log(float(by)), float(every)
    if every <= 0:
        raise ValueError('it takes a positive number of epochs')
    return lambda ops, epoch: ops.exp(rate * ops.floor(epoch / every))


SCHEDULES = {function.__name__: function for function in (
    constant, steps, linear, one_cycle, cosine, exponential, staircase)}


def schedule(text, last):
    """The function of (Ops, epoch) that `text` writes, in a recipe of `last` epochs.

    Raises UsageError where it means none.
    """
    name, *words = text.split() or ['']
    if name not in SCHEDULES:
        raise unknown_name_error('schedule', name, SCHEDULES)
    try:
        return SCHEDULES[name](last, *words)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise UsageError('schedule %r is not understood (%s): write it as in %s' % (
            text, error, ', '.join(repr(e) for e in EXAMPLES if e.startswith(name))))


# Which words of a schedule are or begin with an epoch.
EPOCHS = {'constant': slice(0), 'steps': slice(None), 'linear': slice(None), 'one_cycle': slice(1),
          'cosine': slice(1), 'exponential': slice(1, 2), 'staircase': slice(1, 2)}


def rescaled(text, by):
    """The schedule `text` of a recipe, with all that it does `by` times as late."""
    name, *words = text.split()
    for i in range(len(words))[EPOCHS[name]]:
        epoch, colon, factor = words[i].partition(':')
        words[i] = '%g%s%s' % (float(epoch) * by, colon, factor)
    return ' '.join([name] + words)


EXAMPLES = [line.split('  ')[0] for line in
            (line.strip() for line in __doc__.splitlines() if line.startswith('    '))]

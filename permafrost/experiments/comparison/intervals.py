"""Confidence intervals of 95 % for accuracies: over seeds, or over images for a single seed."""

import math
from typing import Optional, Sequence

import numpy as np

from permafrost.experiments.comparison.table import Difference, Interval

LEVEL = 0.95
Z = 1.959964  # the normal distribution's quantile for LEVEL


def student_t(degrees_of_freedom: float) -> float:
    """Return t such that Student's distribution has LEVEL between -t and t.

    `degrees_of_freedom` are at least 1.
    """
    freedom = degrees_of_freedom
    # With x = sqrt(freedom) * tan(angle) the density is that of cos(angle)^(freedom - 1).
    angles = np.linspace(0, math.pi / 2, 20001)
    density = np.cos(angles) ** (freedom - 1)
    share = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(np.interp(LEVEL, share / share[-1], angles))


def wilson(share: float, count: int) -> Interval:
    """Return Wilson's interval of a `share` of `count` images."""
    center = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(
        share * (1 - share) / count + Z * Z / (4 * count * count))
    return Interval(min(center - half, share), max(center + half, share))


def standard_deviation(values: Sequence[float]) -> Optional[float]:
    """Return the sample's standard deviation; None for fewer than two values."""
    if len(values) < 2:
        return None
    # The mean of equal values may be rounded, so that they seem to differ from it.
    return float(np.std(values, ddof=1)) if min(values) < max(values) else 0.


def of_mean(values: Sequence[float], images: int) -> Interval:
    """Return the interval of the mean of accuracies, one for each seed, each of `images`."""
    mean, std = float(np.mean(values)), standard_deviation(values)
    if not std:
        return wilson(mean, images)
    half = student_t(len(values) - 1) * std / math.sqrt(len(values))
    return Interval(mean - half, mean + half)


def difference(values: Sequence[float], images: int,
               base: Sequence[float], base_images: int) -> Difference:
    """Return the difference of two mean accuracies: `values` minus `base`.

    By Welch's t where both have several seeds; else by Newcombe's interval of two shares, which
    ignores the variation between seeds.
    """
    mean, base_mean = float(np.mean(values)), float(np.mean(base))
    delta = mean - base_mean
    if len(values) > 1 and len(base) > 1:
        variances = [(standard_deviation(each) or 0.) ** 2 / len(each) for each in (values, base)]
        if sum(variances):
            freedom = sum(variances) ** 2 / sum(
                variance ** 2 / (len(each) - 1)
                for variance, each in zip(variances, (values, base)))
            half = student_t(freedom) * math.sqrt(sum(variances))
            return Difference(delta, Interval(delta - half, delta + half), 'welch')
    own, other = wilson(mean, images), wilson(base_mean, base_images)
    return Difference(delta, Interval(
        delta - math.hypot(mean - own.low, other.high - base_mean),
        delta + math.hypot(own.high - mean, base_mean - other.low)), 'binomial')

"""Confidence intervals, compared with published tables and examples, and by simulation."""

import numpy as np
import pytest

from permafrost.experiments.comparison import intervals


@pytest.mark.parametrize('freedom, quantile', [
    (1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (120, 1.980),
    (1e5, 1.960)])
def test_students_quantiles_are_those_of_the_tables(freedom, quantile):
    assert intervals.student_t(freedom) == pytest.approx(quantile, abs=6e-4)


@pytest.mark.parametrize('correct, count, low, high', [
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
    (1, 29, 0.0061, 0.1718)])
def test_wilson_equals_newcombes_examples(correct, count, low, high):
    """R. G. Newcombe, Statistics in Medicine 17, 857-872 (1998), table I, method 3."""
    assert intervals.wilson(correct / count, count) == pytest.approx((low, high), abs=6e-5)


def test_one_seed_each_equals_newcombes_example():
    """R. G. Newcombe, Statistics in Medicine 17, 873-890 (1998), table II, method 10."""
    found = intervals.difference([56 / 70], 70, [48 / 80], 80)
    assert found.method == 'binomial' and found.is_significant
    assert found.value == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=6e-5)


def test_several_seeds_equal_a_published_example_of_welch():
    """Wikipedia, "Welch's t-test", example 1: t = -2.46 with 25.0 degrees of freedom."""
    first = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7,
             21.4]
    second = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5,
              24.4]
    found = intervals.difference(first, 100, second, 100)
    half = (found.interval.high - found.interval.low) / 2
    assert found.method == 'welch' and found.is_significant
    assert found.value / half * 2.0595 == pytest.approx(-2.46, abs=0.005)  # t of 25.0 from tables


def test_two_seeds_each_have_two_degrees_of_freedom():
    """Equal variances of n seeds each: 2 n - 2. Student's 97.5 % quantile of 2 is 4.303."""
    found = intervals.difference([.80, .82], 10000, [.84, .86], 10000)
    assert found.value == pytest.approx(-.04)
    assert found.interval.high - found.value == pytest.approx(4.303 * .0002 ** .5, abs=1e-5)


def test_the_interval_holds_the_true_difference_19_times_of_20():
    random = np.random.RandomState(0)
    held = 0
    for _ in range(1000):
        first = random.normal(0.80, 0.002, 3)
        second = random.normal(0.81, 0.006, 4)
        low, high = intervals.difference(first, 10000, second, 10000).interval
        held += low <= -0.01 <= high
    assert 930 <= held <= 975


@pytest.mark.parametrize('seeds', [2, 3])
def test_identical_accuracies_leave_the_noise_of_the_images(seeds):
    """Three times 0.1 divided by 3 is not 0.1."""
    assert intervals.standard_deviation([0.1] * seeds) == 0
    low, high = intervals.of_mean([0.1] * seeds, 1000)
    assert low < 0.09 < 0.11 < high
    found = intervals.difference([0.1] * seeds, 1000, [0.102] * seeds, 1000)
    assert found.method == 'binomial' and not found.is_significant
    found = intervals.difference([0.8] * seeds, 1000, [0.8] * seeds, 1000)
    assert found.value == 0 and found.method == 'binomial' and not found.is_significant
    assert found.interval.low < -0.01 < 0.01 < found.interval.high


def test_the_mean_has_students_interval_over_seeds_and_wilsons_for_one():
    low, high = intervals.of_mean([0.8, 0.82, 0.84], 10000)
    assert high - 0.82 == pytest.approx(4.303 * 0.02 / 3 ** 0.5, abs=1e-5) == 0.82 - low
    assert intervals.of_mean([0.8], 10000) == intervals.wilson(0.8, 10000)
    assert intervals.standard_deviation([0.8]) is None

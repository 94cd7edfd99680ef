"""The value that a comparison is."""

import pytest

from permafrost.experiments.comparison.table import Comparison, Difference, Interval, Row


@pytest.mark.parametrize('low, high, is_noise', [
    (-0.01, 0.02, True), (0., 0.02, True), (0.001, 0.02, False), (-0.02, -0.001, False)])
def test_a_difference_is_noise_if_its_interval_holds_zero(low, high, is_noise):
    assert Difference(0.01, Interval(low, high), 'welch').is_noise == is_noise


def test_the_first_row_is_the_baseline():
    rows = (Row('a', 'tuto', {}), Row('b', 'tuto', {}))
    assert Comparison('a, b', rows).baseline is rows[0]

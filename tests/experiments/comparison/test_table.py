"""The value that a comparison is."""

import pytest

from permafrost.experiments.comparison.table import Comparison, Difference, Interval, Row


@pytest.mark.parametrize('low, high, is_significant', [
    (-0.01, 0.02, False), (0., 0.02, False), (0.001, 0.02, True), (-0.02, -0.001, True)])
def test_a_difference_is_significant_if_its_interval_excludes_zero(low, high, is_significant):
    assert Difference(0.01, Interval(low, high), 'welch').is_significant == is_significant


def test_the_first_row_is_the_baseline():
    rows = (Row('a', 'tuto', {}), Row('b', 'tuto', {}))
    assert Comparison('a, b', rows).baseline is rows[0]

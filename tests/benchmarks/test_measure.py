"""Interleaving, medians and targets."""

import pytest

from benchmarks import measure


def test_candidates_take_turns_in_alternating_order(capsys):
    calls = []
    values = measure.interleave({name: lambda name=name: calls.append(name) or len(calls)
                                 for name in 'abc'}, 2, 'tuto')
    assert ''.join(calls) == 'abccba'
    assert values == {'a': [1, 6], 'b': [2, 5], 'c': [3, 4]}
    assert capsys.readouterr().out.splitlines() == ['tuto 1/2: a 1, b 2, c 3',
                                                    'tuto 2/2: a 6, b 5, c 4']


def test_the_rate_does_not_count_the_warm_up():
    calls = []
    rate = measure.rate(lambda: calls.append(1), 0., warmup=3)
    assert len(calls) == 4 and rate > 0


@pytest.mark.parametrize('target, at_least, bound, met', [
    (2, True, 'least', True), (2.1, True, 'least', False), (2, False, 'most', True),
    (1.9, False, 'most', False)])
def test_the_median_is_compared_with_the_target(target, at_least, bound, met):
    value = measure.measurement([1, 2, 9], 's', target, at_least)
    assert value == {'unit': 's', 'median': 2, 'quartiles': [1.5, 5.5], 'values': [1, 2, 9],
                     'target': target, 'bound': bound, 'met': met}
    assert ('NOT MET' in measure.table({'time': value})[1]) != met


def test_the_fastest_matrix_product_is_the_peak(monkeypatch):
    monkeypatch.setattr(measure, 'rate', lambda run, seconds: run())
    monkeypatch.setattr(measure.server, 'SIDE', 1000)
    peak = measure.PeakMeter({'slow': lambda: 50, 'fast': lambda: 100}, 8.)
    assert peak() == pytest.approx(200) and peak() == pytest.approx(200)
    assert peak.gflops == {'slow': pytest.approx([100, 100]), 'fast': pytest.approx([200, 200])}

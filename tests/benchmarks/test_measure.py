"""Interleaving, medians and targets."""

import pytest

from benchmarks import measure


def test_candidates_take_turns_in_alternating_order():
    calls = []
    values = measure.interleave({name: lambda name=name: calls.append(name) or len(calls)
                                 for name in 'abc'}, 2, 'tuto')
    assert ''.join(calls) == 'abccba'
    assert values == {'a': [1, 6], 'b': [2, 5], 'c': [3, 4]}


def test_the_rate_does_not_count_the_warm_up():
    calls = []
    rate = measure.rate(lambda: calls.append(1), 0., warmup=3)
    assert len(calls) == 4 and rate > 0


@pytest.mark.parametrize('target, bound, met', [
    (2, 'least', True), (2.1, 'least', False), (2, 'most', True), (1.9, 'most', False)])
def test_the_median_is_compared_with_the_target(target, bound, met):
    value = measure.measurement([1, 2, 9], 's', target, bound)
    assert value == {'unit': 's', 'median': 2, 'quartiles': [1.5, 5.5], 'values': [1, 2, 9],
                     'target': target, 'bound': bound, 'met': met}


def test_the_table_has_a_row_for_each_measurement(capsys):
    measure.print_table({'time': measure.measurement([1, 2, 9], 's')})
    assert capsys.readouterr().out.splitlines()[1].split() == ['time', '2', '1.5', 'to', '5.5', 's']


def test_the_vector_instructions_of_the_processor_are_recorded(monkeypatch):
    monkeypatch.setattr(measure.machine, 'cpu_info', {
        'model name': 'AMD EPYC', 'flags': 'fpu sse2 fma avx avx2 amx_bf16'}.get)
    processor = measure.machine_facts()['machine']
    assert processor['cpu'] == 'AMD EPYC'
    assert processor['instructions'] == ['amx_bf16', 'avx', 'avx2', 'fma']

"""The latency of every model that has a result: which graphs are timed, and what is recorded."""

import pytest

from benchmarks import latency, runner
from permafrost.errors import UserError
from permafrost.experiments.latency import Latency


def test_models_with_a_result_are_timed_in_turn(monkeypatch, tmp_path, capsys):
    commands, timed = [], []

    def time_in_turn(graphs):
        timed.extend(graphs)
        return {graph: Latency(0.5, 3, 'tf2', '2.21', allocator='libc') for graph in graphs
                if 'sprint' not in graph}

    monkeypatch.setattr(runner, 'run_script', lambda *command: commands.append(command))
    monkeypatch.setattr(latency.latency, 'time_in_turn', time_in_turn)
    result = latency.benchmark(runner.Options(results=str(tmp_path)))
    assert len(timed) == latency.PASSES * len(set(timed))  # all of them, again and again
    assert {'tuto', 'squeeze1'} < set(result['figures']) and result['rounds'] == 3 * latency.PASSES
    assert result['figures']['tuto']['median'] == 0.5 and 'sprint' not in result['figures']
    assert result['ops']['tuto'] == 37745098 and result['versions']['tensorflow'] == '2.21'
    assert {command[0] for command in commands} == {'train.py', 'freeze_graph.py'}
    assert result['allocator'] == 'libc'
    assert 'tuto' in capsys.readouterr().out


def test_no_graph_that_can_be_timed_is_one_line(monkeypatch):
    monkeypatch.setattr(runner, 'run_script', lambda *command: None)
    monkeypatch.setattr(latency.latency, 'time_in_turn', lambda graphs: {})
    with pytest.raises(UserError, match='no graph could be timed'):
        latency.benchmark(runner.Options())


def test_models_must_be_named_where_no_model_has_a_result(monkeypatch, tmp_path):
    monkeypatch.setattr(latency, 'ROOT', str(tmp_path))
    with pytest.raises(UserError, match='no model has a result .*: name models with --models'):
        latency.benchmark(runner.Options())

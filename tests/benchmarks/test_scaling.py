"""The simulation of clusters against cases that can be solved by hand."""

import pytest

from benchmarks import runner, scaling


def test_variable_bytes_count_every_trained_number():
    assert scaling.variable_bytes('tuto') == 4273192  # 4 bytes of 1,068,298 parameters


def test_a_lone_worker_pulls_computes_and_pushes():
    assert scaling.step_rate(1, 1, 100., 3., 50.) == pytest.approx(1 / (2 + 3 + 2))


def test_a_saturated_link_limits_the_rate():
    # 100 workers that compute for 1 s and pull 10 bytes through a link of 20 bytes/s.
    assert scaling.step_rate(100, 1, 10., 1., 20.) == pytest.approx(2., rel=.05)


def test_idle_servers_do_not_slow_the_workers():
    assert scaling.step_rate(8, 64, 1., 1., 1000.) == pytest.approx(8 / 1.002, rel=.05)


def test_servers_needed_are_the_fewest():
    needed = scaling.servers_needed(16, 10., 1., 20.)
    ideal = 16 / (1 + 2 * 10 / 20.)
    assert scaling.step_rate(16, needed, 10., 1., 20.) >= .9 * ideal
    assert scaling.step_rate(16, needed - 1, 10., 1., 20.) < .9 * ideal


def test_the_plan_has_a_row_for_each_number_of_workers(monkeypatch, capsys):
    monkeypatch.setattr(scaling, 'WORKERS', (1, 4))
    scaling.benchmark(runner.Options(models=['lenet5']))
    header, one, four = capsys.readouterr().out.splitlines()[-3:]
    assert header.split()[:4] == ['model', 'bytes', 'workers', 'servers']
    assert one.split()[0] == four.split()[0] == 'lenet5'
    assert one.split()[2:4] == ['1', '1'] and four.split()[2] == '4'

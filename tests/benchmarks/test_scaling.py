"""The simulation of clusters against cases that can be solved by hand."""

import pytest

from benchmarks import runner, scaling
from benchmarks.scaling import Cost, Phase
from permafrost.errors import UsageError


def test_the_phases_of_one_worker_follow_each_other():
    phases = [Phase('out', 100., 50.), Phase('processor', 3., 2.), Phase('in', 100., 200.)]
    rate = scaling.step_rate([phases], {'out': 80., 'processor': 2., 'in': 100.})
    assert rate == pytest.approx(1 / (100 / 50 + 3 / 2 + 100 / 100))


def test_a_saturated_link_limits_the_rate():
    # 100 workers that compute for 1 s and pull 10 bytes through a link of 20 bytes/s.
    assert scaling.rate_on_network(100, 1, 10., 1., 20.) == pytest.approx(2., rel=.05)


def test_idle_servers_do_not_slow_the_workers():
    assert scaling.rate_on_network(8, 64, 1., 1., 1000.) == pytest.approx(8 / 1.002, rel=.05)


def test_workers_of_one_host_share_its_cores():
    # One of two cores is idle for half of the step: a second worker fills that, and no more.
    costs = Cost(1., 2.), Cost(.5, .5), Cost(.5, .5)
    assert scaling.rate_on_host(1, 2, *costs) == pytest.approx(1 / 2)
    # 3 core seconds a step, 2 cores
    assert scaling.rate_on_host(2, 2, *costs) == pytest.approx(2 / 3, rel=.05)


def test_others_share_what_a_slow_worker_does_not_need():
    # The slow one takes a second for its step; the other two share the other 8 of 9.
    slow, fast = [Phase('r', 1., 1.)], [Phase('r', 1., 10.)]
    assert scaling.step_rate([slow, fast, fast], {'r': 9.}) == pytest.approx(9., rel=.02)
    assert scaling.step_rate([slow, slow, slow], {'r': 9.}) == pytest.approx(3., rel=.02)


def test_servers_needed_are_the_fewest():
    needed = scaling.servers_needed(16, 10., 1., 20.)
    ideal = 16 / (1 + 2 * 10 / 20.)
    assert scaling.rate_on_network(16, needed, 10., 1., 20.) >= .9 * ideal
    assert scaling.rate_on_network(16, needed - 1, 10., 1., 20.) < .9 * ideal


@pytest.mark.parametrize('options, message', [
    (dict(workers=['4', 'abc']), 'needs numbers of workers'),
    (dict(check=__file__), 'is not a result')])
def test_wrong_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        scaling.benchmark(runner.Options(**options))


def test_the_plan_has_a_row_for_each_number_of_workers(capsys):
    scaling.benchmark(runner.Options(models=['lenet5'], workers=['1', '4']))
    header, one, four = capsys.readouterr().out.splitlines()[-3:]
    assert header.split()[:4] == ['model', 'bytes', 'workers', 'servers']
    assert one.split()[0] == four.split()[0] == 'lenet5'
    assert one.split()[2:4] == ['1', '1'] and four.split()[2] == '4'

"""The simulation of clusters against cases that can be worked out by hand."""

import pytest

from benchmarks import scaling_model


def test_one_worker_makes_its_phases_one_after_the_other():
    phases = [scaling_model.Phase('out', 100., 50.), scaling_model.Phase('processor', 3., 2.), scaling_model.Phase('in', 100., 200.)]
    rate = scaling_model.step_rate([phases], {'out': 80., 'processor': 2., 'in': 100.})
    assert rate == pytest.approx(1 / (100 / 50 + 3 / 2 + 100 / 100))


def test_a_saturated_link_bounds_the_rate():
    # 100 workers that calculate for 1 s and bring 10 bytes through a link of 20 bytes/s.
    assert scaling_model.on_many(100, 1, 10., 1., 20.) == pytest.approx(2., rel=.05)


def test_idle_servers_leave_the_workers_alone():
    assert scaling_model.on_many(8, 64, 1., 1., 1000.) == pytest.approx(8 / 1.002, rel=.05)


def test_workers_of_one_host_share_its_cores():
    # One of two cores is idle for half of the step: a second worker fills it, and no more.
    alone = scaling_model.on_one_host(1, 2, (1., 2.), (.5, .5), (.5, .5))
    both = scaling_model.on_one_host(2, 2, (1., 2.), (.5, .5), (.5, .5))
    assert alone == pytest.approx(1 / 2)
    assert both == pytest.approx(2 / 3, rel=.05)  # 3 core seconds a step, 2 cores


def test_fairness_gives_what_some_do_not_need_to_others():
    # Who is slow by itself takes a second for its step, the other two share the other 8 of 9.
    slow, fast = [scaling_model.Phase('r', 1., 1.)], [scaling_model.Phase('r', 1., 10.)]
    assert scaling_model.step_rate([slow, fast, fast], {'r': 9.}) == pytest.approx(9., rel=.02)
    assert scaling_model.step_rate([slow, slow, slow], {'r': 9.}) == pytest.approx(3., rel=.02)


def test_servers_needed_are_the_fewest():
    needed = scaling_model.servers_needed(16, 10., 1., 20.)
    alone = 16 / (1 + 2 * 10 / 20.)
    assert scaling_model.on_many(16, needed, 10., 1., 20.) >= .9 * alone
    assert scaling_model.on_many(16, needed - 1, 10., 1., 20.) < .9 * alone

"""The benchmark cluster: its smallest form, and the bytes that a step moves."""

import pytest

from benchmarks import cluster, runner
from permafrost import runtime


def test_variable_bytes_count_every_trained_number():
    assert cluster.variable_bytes('tuto') == 4273192  # 4 bytes of 1,068,298 parameters


@pytest.mark.slow
@pytest.mark.skipif(runtime.installed() != 'tf2', reason='one engine is enough')
def test_each_cluster_and_task_is_timed(synthetic):
    result = cluster.benchmark(runner.Options(
        models=['convone'], rounds=2, seconds=.5, dataset='synthetic',
        data_dir=synthetic.directory))
    figures = result['figures']
    assert all(len(value['values']) == 2 for value in figures.values())
    for name, tasks in (('local', ['worker 0']), ('1 worker', ['ps 0', 'worker 0']),
                        ('2 workers', ['ps 0', 'worker 0', 'worker 1'])):
        assert figures['convone ' + name]['median'] > 0
        assert all(f'convone {name}: {task}' in figures for task in tasks)
    assert figures['convone 1 worker / local']['target'] == cluster.MIN_RATIO

"""The benchmark cluster in its smallest form."""

import pytest

from benchmarks import cluster, runner
from permafrost import engines
from permafrost.errors import UserError


def test_no_evaluation_is_timed(monkeypatch):
    started = []

    def start(servers, workers, flags):
        started.append(flags)
        raise UserError('stop here')
    monkeypatch.setattr(cluster, 'LocalCluster', start)
    with pytest.raises(UserError, match='stop here'):
        cluster.benchmark(runner.Options())
    assert '--eval_epochs=0' in started[0]


@pytest.mark.slow
@pytest.mark.skipif(engines.installed() != 'tf2', reason='one engine is enough')
def test_each_cluster_is_timed(synthetic):
    result = cluster.benchmark(runner.Options(
        models=['convone'], rounds=2, seconds=.5, dataset='synthetic',
        data_dir=synthetic.directory))
    figures = result['figures']
    assert all(len(value['values']) == 2 for value in figures.values())
    assert all(figures['convone ' + name]['median'] > 0 for name in cluster.CLUSTERS)
    assert figures['convone 2 workers / local']['values'] == pytest.approx([
        values[0] / values[1] for values in zip(*(
            figures['convone ' + name]['values'] for name in ('2 workers', 'local')))])

"""The benchmark pipeline in its smallest form: the result is complete, consistent.

Speeds depend on the machine and its other users: no test looks at one.
"""

import json
import statistics

import pytest

from benchmarks import runner
from permafrost import engines, machine

VALUES = {'convone constant': 2, 'convone pipeline': 2, 'convone ratio': 2, 'alone, memory': 2,
          'alone, stream': 2, 'alone, tfrecords': 2, 'first step': 1, 'peak memory': 1}


@pytest.fixture(scope='module')
def result(synthetic, tmp_path_factory):
    folder = tmp_path_factory.mktemp('results')
    runner.run('pipeline', runner.Options(
        models=['convone'], rounds=2, seconds=.05, results=str(folder), dataset='synthetic',
        data_dir=synthetic.directory))
    path, = folder.iterdir()
    assert path.name == f'benchmark-pipeline-{engines.installed()}.json'
    return json.loads(path.read_text())


def test_the_environment_is_recorded(result):
    assert result['benchmark'] == 'pipeline' and result['engine'] == engines.installed()
    assert result['versions']['engine'] == engines.installed()
    assert result['machine']['cpu'] and result['machine']['cores'] == machine.cores()
    assert result['command'].startswith('python -m benchmarks pipeline')
    assert result['date'] and result['batch_size'] == 128 and result['dataset'] == 'synthetic'


def test_every_round_times_everything(result):
    assert {name: len(value['values']) for name, value in result['figures'].items()} == VALUES
    for value in result['figures'].values():
        low, high = value['quartiles']
        assert 0 < min(value['values']) <= low <= value['median'] <= high
        assert value['median'] == pytest.approx(statistics.median(value['values']))


def test_the_ratio_is_of_speeds_of_the_same_round(result):
    constant, pipeline, ratio = (result['figures']['convone ' + name]['values']
                                 for name in ('constant', 'pipeline', 'ratio'))
    assert ratio == pytest.approx([p / c for p, c in zip(pipeline, constant)])


def test_the_median_is_compared_with_the_targets(result):
    targets = {name: (value['bound'], value['target'])
               for name, value in result['figures'].items() if 'target' in value}
    assert targets == {
        'convone ratio': ('least', .95), 'alone, memory': ('least', 20000),
        'alone, stream': ('least', 20000), 'alone, tfrecords': ('least', 20000),
        'first step': ('most', 8), 'peak memory': ('most', 1500)}
    for name, (bound, target) in targets.items():
        median = result['figures'][name]['median']
        assert result['figures'][name]['met'] == (
            median >= target if bound == 'least' else median <= target)

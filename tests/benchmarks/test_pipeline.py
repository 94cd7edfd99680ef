"""tools/benchmark.py in its smallest form: what it records is whole and consistent.

Speeds depend on the machine and on who else uses it: no test looks at one.
"""

import json
import os
import statistics

import pytest

from permafrost import runtime

RATES = {'convone constant': 2, 'convone pipeline': 2, 'convone ratio': 2, 'alone, memory': 2,
         'alone, stream': 2, 'alone, tfrecords': 2, 'matrix product, engine': 2,
         'matrix product, numpy': 2, 'first step': 1, 'peak memory': 1}


def benchmark(python, synthetic, folder, *arguments):
    done = python('tools/benchmark.py', *arguments, '--quick', '--seconds=0.05',
                  '--models=convone', '--results=%s' % folder, '--data_set=synthetic',
                  '--data_dir=%s' % synthetic.directory)
    assert done.returncode == 0, done.stdout + done.stderr
    name, = os.listdir(str(folder))
    with open(os.path.join(str(folder), name)) as stream:
        return name, json.load(stream), done.stdout


@pytest.fixture(scope='module')
def pipeline(python, synthetic, tmp_path_factory):
    return benchmark(python, synthetic, tmp_path_factory.mktemp('results'), 'pipeline')


def test_pipeline_is_recorded_with_its_circumstances(pipeline):
    name, found, _ = pipeline
    assert name == 'benchmark-pipeline-%s.json' % runtime.installed()
    assert found['benchmark'] == 'pipeline' and found['engine'] == runtime.installed()
    assert found['versions']['engine'] == runtime.installed()
    assert found['machine']['cpu'] and found['machine']['cores'] == runtime.cores()
    assert found['command'].startswith('python tools/benchmark.py pipeline')
    assert found['date'] and found['batch_size'] == 128 and found['data_set'] == 'synthetic'


def test_pipeline_times_everything_in_every_round(pipeline):
    _, found, printed = pipeline
    assert {name: len(figure['values']) for name, figure in found['figures'].items()} == RATES
    for name, figure in found['figures'].items():
        low, high = figure['quartiles']
        assert 0 < min(figure['values']) <= low <= figure['median'] <= high
        assert figure['median'] == pytest.approx(statistics.median(figure['values']))
        assert '\n' + name in printed


def test_ratio_is_of_the_rates_of_the_same_round(pipeline):
    constant, through, ratio = (pipeline[1]['figures']['convone ' + name]['values']
                                for name in ('constant', 'pipeline', 'ratio'))
    assert ratio == pytest.approx([t / c for t, c in zip(through, constant)])


def test_targets_are_those_of_the_issue_and_judged_by_the_median(pipeline):
    figures = pipeline[1]['figures']
    targets = {name: (figure['bound'], figure['target'])
               for name, figure in figures.items() if 'target' in figure}
    assert targets == {
        'convone ratio': ('least', .95), 'alone, memory': ('least', 20000),
        'alone, stream': ('least', 20000), 'alone, tfrecords': ('least', 20000),
        'first step': ('most', 8), 'peak memory': ('most', 1500)}
    for name, (bound, target) in targets.items():
        median = figures[name]['median']
        assert figures[name]['met'] == (median >= target if bound == 'least' else
                                        median <= target)


@pytest.mark.slow
@pytest.mark.skipif(runtime.installed() != 'tf2', reason='one engine is enough: it takes minutes')
def test_threads_times_each_setting(python, synthetic, tmp_path):
    name, found, printed = benchmark(python, synthetic, tmp_path, 'threads', '--rounds=1')
    assert name == 'benchmark-threads-%s.json' % runtime.installed()
    assert set(found['figures']['convone']) == set(found['settings'])
    assert 'defaults' in found['settings'] and len(found['settings']) > 4
    for setting, figure in found['figures']['convone'].items():
        assert len(figure['values']) == 1 and figure['values'][0] > 0
        assert '\n' + setting in printed


@pytest.mark.parametrize('arguments, said', [
    (['pipelin'], 'did you mean pipeline?'), (['inference', '--data_set=x/y'], 'for CIFAR-10'),
    (['--models=tutu'], 'did you mean tuto?'),
    (['--rounds=0'], 'rounds')])
def test_what_cannot_be_meant_is_one_line(python, arguments, said):
    done = python('tools/benchmark.py', *arguments)
    assert done.returncode == 2 and said in done.stderr
    assert len(done.stderr.splitlines()) == 1

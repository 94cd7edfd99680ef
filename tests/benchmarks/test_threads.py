"""The benchmark threads in its smallest form."""

import pytest

from benchmarks import runner, threads
from permafrost import runtime


@pytest.mark.slow
@pytest.mark.skipif(runtime.installed() != 'tf2', reason='it takes minutes: one engine is enough')
def test_each_setting_is_timed(synthetic, capsys):
    result = threads.benchmark(runner.Options(
        models=['convone'], rounds=1, seconds=.05, dataset='synthetic',
        data_dir=synthetic.directory))
    assert set(result['figures']['convone']) == set(result['settings'])
    assert 'defaults' in result['settings'] and len(result['settings']) > 4
    printed = capsys.readouterr().out
    for setting, value in result['figures']['convone'].items():
        assert len(value['values']) == 1 and value['values'][0] > 0
        assert '\n' + setting in printed

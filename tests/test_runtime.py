"""Threads and environment are set before TensorFlow is imported; what the user sets comes first."""

import os
import subprocess
import sys

import pytest

from permafrost import runtime
from permafrost.errors import UserError
from tests.processes import ROOT

SCRIPT = '''
import os, sys, warnings
from types import SimpleNamespace
from permafrost import runtime
assert 'tensorflow' not in sys.modules
config = runtime.prepare({})
print(config.intra_op_parallelism_threads, config.inter_op_parallelism_threads,
      os.environ.get('OMP_NUM_THREADS'))
warnings.filterwarnings('error', module='__main__')
try:
    warnings.warn('of our own', DeprecationWarning)
except DeprecationWarning:
    print('not hidden')
'''


def _prepare(argument='', **environment):
    """Return the line that prepare prints, and the thread settings after it."""
    process = subprocess.run([sys.executable, '-c', SCRIPT.format(argument)], cwd=ROOT,
                             env=dict(os.environ, **environment), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, universal_newlines=True)
    assert process.returncode == 0, process.stderr
    assert not process.stderr, 'the import must be quiet'
    lines = process.stdout.splitlines()
    assert lines[-1] == 'not hidden'
    return lines[0], lines[-2].split()


def test_the_engine_and_its_settings_are_printed():
    line, (intra, inter, omp_threads) = _prepare()
    assert line.startswith(f'engine: {runtime.installed()} (TensorFlow ')
    assert f'intra {intra}, inter {inter}' in line
    if runtime.installed() == 'tf1-mkl':
        assert omp_threads == intra and f'OMP_NUM_THREADS={omp_threads}' in line
    else:
        assert omp_threads == 'None'


def test_arguments_and_the_environment_come_first():
    values = 'SimpleNamespace(deterministic=False, intra_op_threads=3, inter_op_threads=5)'
    _, settings = _prepare(values, OMP_NUM_THREADS='7')
    assert settings == ['3', '5', '7']


def test_threads_by_engine():
    cores = runtime.cores()
    assert runtime.threads('tf2') == (cores, cores)
    assert runtime.threads('tf1-mkl') == (cores, 2)
    assert runtime.threads('tf2', inter=3) == (cores, 3)
    assert runtime.threads('tf2', deterministic=True) == (1, 1)
    assert runtime.threads('tf1', deterministic=True, intra=2) == (2, 1)


def test_no_tensorflow_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, 'path', [])
    with pytest.raises(UserError, match='run make setup'):
        runtime.installed()


@pytest.mark.parametrize('engine, flags, expected', [
    ('tf2', 'avx2 avx512_bf16', True), ('tf2', 'amx_bf16 sse', True), ('tf2', 'avx512f', False),
    ('tf2', '', False), ('tf1', 'avx512_bf16', False), ('tf1-mkl', 'avx512_bf16', False)])
def test_bfloat16_needs_tf2_and_a_processor_that_has_it(monkeypatch, engine, flags, expected):
    monkeypatch.setattr(runtime, 'cpu_info', {'flags': flags}.get)
    assert runtime.has_bfloat16(engine) == expected

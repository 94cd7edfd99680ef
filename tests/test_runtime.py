"""Threads are set before the import, printed, and what the user sets wins."""

import os
import subprocess
import sys

import pytest

from permafrost import runtime
from permafrost.errors import UserError
from tests.processes import ROOT

SHOW = '''
import os, sys
from permafrost import engine
assert 'tensorflow' not in sys.modules
proto = engine.prepare(%s)
print(proto.intra_op_parallelism_threads, proto.inter_op_parallelism_threads,
      os.environ.get('OMP_NUM_THREADS'))
'''


def _prepare(arguments='', **environment):
    done = subprocess.run([sys.executable, '-c', SHOW % arguments], cwd=ROOT,
                          env=dict(os.environ, **environment), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, 'the import is quiet'
    lines = done.stdout.splitlines()
    return lines[0], lines[-1].split()


def test_it_says_what_it_is_and_what_it_set():
    said, (intra, inter, omp) = _prepare()
    assert said.startswith('engine: %s (TensorFlow ' % runtime.installed())
    assert 'intra %s, inter %s' % (intra, inter) in said
    assert (omp == intra and 'OMP_NUM_THREADS=' + omp in said
            if runtime.installed() == 'tf1-mkl' else omp == 'None')


def test_what_is_given_wins():
    assert _prepare('intra=3, inter=5')[1][:2] == ['3', '5']
    if runtime.installed() == 'tf1-mkl':
        assert _prepare(OMP_NUM_THREADS='7')[1][2] == '7'


def test_deterministic_is_one_thread():
    assert _prepare('deterministic=True')[1][:2] == ['1', '1']


def test_no_tensorflow_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, 'path', [])
    with pytest.raises(UserError, match='run make setup'):
        runtime.installed()

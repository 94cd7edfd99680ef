"""The fuzzer, with the sanitizers of addresses and undefined behaviour."""

import os

import pytest

from tests.label_image.program import ROOT, SQUEEZE1, execute, make


@pytest.mark.slow
def test_sanitizers_have_nothing_to_report(program):
    make('sanitize')
    graphs = [path for path in (SQUEEZE1,) if os.path.isfile(path)]
    done = execute(os.path.join(ROOT, 'label_image', 'build', 'sanitize', 'fuzz'), 2000, 1, *graphs)
    assert done.returncode == 0, done.stderr[-3000:]
    assert '2000 mutants, no report' in done.stdout

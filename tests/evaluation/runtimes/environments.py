"""For tests: the environments that are built on this machine."""

import os

import pytest

from tests.processes import ROOT


def needs(*names):
    """Return a mark: skip the test, and say what to do, where an environment is missing."""
    missing = [name for name in names
               if not os.path.exists(os.path.join(ROOT, '.venv', name, 'bin', 'python'))]
    return pytest.mark.skipif(bool(missing), reason=f"run tools/setup.sh {' '.join(missing[:1])}")

"""The Python of PyTorch's environment, for tests next to PyTorch."""

import os
import subprocess

import pytest

from tests.processes import ROOT


@pytest.fixture(scope='session')
def pytorch_python():
    """Return the Python of .venv/pytorch; skip the test without PyTorch, which takes 1 GB."""
    python = os.path.join(ROOT, '.venv', 'pytorch', 'bin', 'python')
    if not os.path.exists(python) or subprocess.call([python, '-c', 'import torch'],
                                                     stderr=subprocess.DEVNULL):
        pytest.skip('no PyTorch: tools/setup.sh pytorch installs it')
    return python

"""Fixtures: a trained run, and a copy of it."""

import shutil

import pytest

from tests import networks


@pytest.fixture(scope='module')
def trained(synthetic, tmp_path_factory):
    """A run with checkpoints of steps 0, 2 and 4. Tests must not change it."""
    run = str(tmp_path_factory.mktemp('trained') / 'run')
    networks.train(synthetic, run, 4, 'tiny', save_steps=2)
    return run


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of that run."""
    return shutil.copytree(trained, str(tmp_path / 'run'))

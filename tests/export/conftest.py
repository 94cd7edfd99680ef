"""Runs to freeze, one of them frozen."""

import pytest

from permafrost.export import freeze
from tests import networks


@pytest.fixture(scope='session')
def run(synthetic, tmp_path_factory):
    """A run of squeeze1 of 20 steps with checkpoints at 0, 10 and 20."""
    directory = str(tmp_path_factory.mktemp('frozen') / 'squeeze1')
    networks.train(synthetic, directory, 20, 'squeeze1', changes=['batch_size=16'], save_steps=10)
    return directory


@pytest.fixture
def normed_run(trained_normed):
    """That run; its network is registered as a model during the test."""
    with networks.registered():
        yield trained_normed


@pytest.fixture(scope='session')
def file(run, tmp_path_factory):
    """Path of the frozen run."""
    path = str(tmp_path_factory.mktemp('frozen') / 'squeeze1.pb')
    freeze.freeze(run, None, output=path)
    return path

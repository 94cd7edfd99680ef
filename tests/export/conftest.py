"""Runs to freeze, one of them frozen."""

import os

import pytest

from permafrost.export import freeze
from tests import networks, processes
from tests.export import graphs


@pytest.fixture(scope='session')
def run(synthetic, tmp_path_factory):
    """A run of squeeze1 of 20 steps."""
    directory = str(tmp_path_factory.mktemp('frozen') / 'squeeze1')
    processes.finish(processes.training(synthetic, directory, '--steps=20', '--save_steps=10'))
    return directory


@pytest.fixture(scope='session')
def trained_normed(synthetic, tmp_path_factory):
    """A run of 60 steps of the batch-normalised network."""
    directory = str(tmp_path_factory.mktemp('frozen') / 'normed')
    with networks.registered():
        networks.train(synthetic, directory, 60)
    return directory


@pytest.fixture
def normed_run(trained_normed):
    """That run; its network is a model for the while."""
    with networks.registered():
        yield trained_normed


@pytest.fixture(scope='session')
def file(run, tmp_path_factory):
    """Path of the frozen run."""
    path = str(tmp_path_factory.mktemp('frozen') / 'squeeze1.pb')
    freeze.freeze(run, None, output=path)
    return path


@pytest.fixture
def third_party():
    if not os.path.exists(graphs.THIRD_PARTY):
        pytest.skip('no ../shared/thirdparty/squeeze1.pb')
    return graphs.THIRD_PARTY

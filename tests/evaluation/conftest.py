"""A run to evaluate."""

import pytest

from tests import networks


@pytest.fixture(scope='session')
def run(synthetic, tmp_path_factory):
    """A run of squeeze1 of 30 steps with checkpoints at 0, 10, 20 and 30."""
    directory = str(tmp_path_factory.mktemp('evaluated') / 'run')
    networks.train(synthetic, directory, 30, 'squeeze1', changes=['batch_size=16'], save_steps=10)
    return directory

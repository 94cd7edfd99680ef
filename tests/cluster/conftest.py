"""Fixtures of all tests of clusters."""

import pytest

from permafrost.cluster import network
from tests.cluster import helpers


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A server on a busy host may take more than the default seconds for an answer."""
    monkeypatch.setattr(network, 'ANSWER_SECS', 30.)


@pytest.fixture(scope='module')
def cluster():
    """Two parameter servers and two workers: see admissions.Cluster."""
    from tests.cluster import admissions
    return admissions.Cluster()


@pytest.fixture(scope='module')
def _publishers(cluster):
    with helpers.serving(cluster.spec) as publishers:
        yield publishers


@pytest.fixture
def publishers(_publishers, monkeypatch):
    """The parameter servers of `cluster`, which serve no run yet."""
    from permafrost.cluster.servers import admission
    monkeypatch.setattr(admission, 'POLL_SECS', .02)
    monkeypatch.setattr(admission, 'CLAIM_SECS', .02)
    monkeypatch.setattr(admission, 'CLAIM_DELAY_SECS', .1)
    for publisher in _publishers:
        publisher.restart()
    return _publishers

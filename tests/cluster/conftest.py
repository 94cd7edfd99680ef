"""Fixtures of all tests of clusters."""

import pytest

from permafrost.cluster import network


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A server on a busy host may take more than the default seconds for an answer."""
    monkeypatch.setattr(network, 'ANSWER_SECS', 30.)

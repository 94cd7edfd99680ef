"""When a parameter server ends."""

from types import SimpleNamespace

import pytest

from permafrost.cluster import network
from permafrost.cluster.cluster_spec import ClusterSpec
from permafrost.cluster.servers import parameter_server
from permafrost.cluster.servers.state import ServerState
from permafrost.errors import UserError
from tests.cluster import helpers

RUNNING = SimpleNamespace(code=0)
STOPPED = SimpleNamespace(code=143, report=lambda: None)
RUN = {'id': 1, 'name': 'the run runs/1'}
SAVED = dict(run=RUN, ready=True, saved=True)


def _state(**fields):
    return ServerState('tf2', ['p:1'], ['a:1', 'b:1'], **fields)


@pytest.fixture
def fast_polls(monkeypatch):
    monkeypatch.setattr(parameter_server, 'POLL_SECS', 0.)


@pytest.fixture
def chief():
    """The address of a chief that accepts connections."""
    with helpers.listening() as address:
        yield address


def _wait(signals, chief, *states, wait_secs=60., others='127.0.0.1:1'):
    """Run wait_for_workers for two workers; `states` are published in turn."""
    states = list(states)
    parameter_server.wait_for_workers(
        ClusterSpec(('p:1',), (chief, others)), lambda: states.pop(0) if states else _state(),
        signals, wait_secs)
    assert not states


@pytest.mark.usefixtures('fast_polls')
class TestWaiting:
    """When a server ends."""

    def test_it_ends_when_all_workers_know_that_the_run_is_saved(self, chief, capsys):
        _wait(RUNNING, chief, _state(), _state(finished=[1]), _state(**SAVED),
              _state(left=[1], **SAVED))
        assert capsys.readouterr().out == ''

    def test_it_ends_after_the_chief_if_another_worker_has_died(self, chief, monkeypatch, capsys):
        monkeypatch.setattr(parameter_server, 'OTHERS_SECS', -1.)
        _wait(RUNNING, chief, _state(**SAVED))
        assert 'ending without worker 1' in capsys.readouterr().out

    def test_it_waits_for_a_worker_that_lives(self, chief, monkeypatch, capsys):
        monkeypatch.setattr(parameter_server, 'OTHERS_SECS', -1.)
        _wait(RUNNING, chief, *2 * [_state(**SAVED)], _state(left=[1], **SAVED), others=chief)
        monkeypatch.setattr(parameter_server, 'ALIVE_SECS', -1.)
        _wait(RUNNING, chief, _state(**SAVED), others=chief)
        assert capsys.readouterr().out.count('ending without worker 1') == 1

    def test_after_a_signal_it_ends_when_the_chief_has_left_or_saved_long_enough(
            self, chief, monkeypatch):
        _wait(STOPPED, '127.0.0.1:1', _state())
        monkeypatch.setattr(parameter_server, 'SAVE_SECS', -1.)
        _wait(STOPPED, chief, _state())

    def test_after_a_signal_it_serves_while_the_chief_saves(self, chief):
        _wait(STOPPED, chief, _state(), _state(left=[1], **SAVED))

    def test_a_chief_that_does_not_answer_is_named(self, chief, monkeypatch):
        """This one accepts connections, but is stopped."""
        monkeypatch.setattr(parameter_server, 'PROBE_SECS', -1.)
        monkeypatch.setattr(network, 'ANSWER_SECS', .1)
        with pytest.raises(UserError, match=rf'worker 0 \({chief}\), the chief, did not answer '):
            _wait(RUNNING, chief, _state(), wait_secs=-1.)

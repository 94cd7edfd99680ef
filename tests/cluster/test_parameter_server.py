"""The parameter server: its port, its state, and when it ends."""

import threading
from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from permafrost.cluster import network, parameter_server
from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.cluster.parameter_server import ServerState
from permafrost.errors import UserError
from tests.cluster import helpers

RUNNING = SimpleNamespace(code=0)
STOPPED = SimpleNamespace(code=143, report=lambda: None)
RUN = {'id': 1, 'name': 'the run runs/1'}


def _state(**fields):
    return ServerState('tf2', ['p:1'], ['a:1', 'b:1'], **fields)


def test_the_first_run_that_claims_a_server_has_it():
    state, other = _state(), {'id': 2, 'name': 'the run runs/2'}
    state.receive('claim', run=RUN, overwrite=False)
    state.receive('ready', id=1)
    state.receive('finished', id=1, worker=1)
    before = _state(run=RUN, ready=True, finished=[1])
    assert state == before
    state.receive('claim', run=other, overwrite=False)
    for kind in ('initializing', 'saved', 'finished', 'left'):
        state.receive(kind, id=2, worker=1)
    assert state == before
    longer = dict(RUN, steps=9)
    state.receive('claim', run=longer, overwrite=False)  # its own chief has come back
    assert state == _state(run=longer, ready=True, finished=[1])
    state.receive('claim', run=other, overwrite=True)
    assert state == _state(run=other)


def test_workers_start_again_where_the_chief_sets_the_variables_again():
    state = _state(run=RUN, ready=True, finished=[1])
    state.receive('initializing', id=1)
    assert state == _state(run=RUN)
    state.receive('ready', id=1)
    state.receive('saved', id=1, worker=0)
    state.receive('left', id=1, worker=1)
    assert state == _state(run=RUN, ready=True, saved=True, left=[1])


def test_a_server_without_a_run_takes_no_other_message():
    state = _state()
    for kind in ('initializing', 'ready', 'saved', 'finished', 'left'):
        state.receive(kind, id=1, worker=1)
    assert state == _state()


def test_tasks_read_the_states_and_change_them_by_messages():
    spec = helpers.free_spec(2, 1)
    with helpers.serving(spec) as publishers:
        servers = parameter_server.Servers(spec, tf.ConfigProto())
        assert servers.states() == [publisher.state for publisher in publishers]
        assert servers.global_step() == 0  # it has no variables
        servers.send('claim', 1, run=RUN, overwrite=False)
        while servers.states()[1].run is None:
            pass
        assert [state.run for state in servers.states()] == [None, RUN]
        servers.close()
        assert servers.states()[1].run == RUN  # a new session


def test_a_state_is_read_whole_while_it_is_published():
    spec = helpers.free_spec(1, 1)
    with helpers.serving(spec) as publishers:
        servers = parameter_server.Servers(spec, tf.ConfigProto())
        published = threading.Event()

        def publish():
            for _ in range(500):
                with publishers[0].lock:
                    publishers[0].restart()
                    publishers[0].state.receive('claim', run=RUN, overwrite=False)
                    publishers[0].publish()
            published.set()

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            while not published.is_set():
                assert servers.states()[0].run in (None, RUN)
        finally:
            thread.join()


def test_a_message_reaches_the_other_servers_if_one_is_lost(monkeypatch):
    """Else those would wait forever for a chief that has saved."""
    spec = helpers.free_spec(2, 1)
    with helpers.serving(spec):
        servers = parameter_server.Servers(spec, tf.ConfigProto())
        monkeypatch.setattr(parameter_server, 'REQUEST_SECS', 1.)
        lost = parameter_server.Servers(ClusterSpec(('127.0.0.1:1', spec.ps[1]), spec.workers),
                                        tf.ConfigProto())
        with pytest.raises(tf.errors.UnavailableError):
            lost.send('claim', run=RUN, overwrite=False)
        while servers.states()[1].run is None:
            pass
        assert [state.run for state in servers.states()] == [None, RUN]


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


def test_a_port_in_use_is_a_user_error(chief, capsys):
    spec = ClusterSpec((chief,), ('127.0.0.1:1',))
    with pytest.raises(UserError, match=rf'^ps 0 cannot listen on {chief} .*another process'):
        parameter_server.start(spec, Task('ps'), tf.ConfigProto())
    port = chief.split(':')[1]
    assert f'listening on port {port} of every interface' in capsys.readouterr().out


SAVED = dict(run=RUN, ready=True, saved=True)


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

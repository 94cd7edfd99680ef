"""The parameter server: its port, and when it ends."""

import socket
from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from permafrost.cluster import parameter_server
from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.errors import UserError

RUNNING, STOPPED = SimpleNamespace(code=0), SimpleNamespace(code=143)


@pytest.fixture(autouse=True)
def fast_polls(monkeypatch):
    monkeypatch.setattr(parameter_server, 'POLL_SECS', 0.)


@pytest.fixture
def chief():
    """The address of a chief that accepts connections."""
    with socket.socket() as listening:
        listening.bind(('127.0.0.1', 0))
        listening.listen(16)
        yield f'127.0.0.1:{listening.getsockname()[1]}'


def _wait(signals, chief, *done, wait_secs=60.):
    """Run wait_for_workers for two workers; `done` are what newly_done returns in turn."""
    sets = list(map(set, done))
    parameter_server.wait_for_workers(
        ClusterSpec(('p:1',), (chief, 'b:1')), lambda: sets.pop(0) if sets else set(), signals,
        wait_secs)
    assert not sets


def test_a_port_in_use_is_a_user_error(chief, capsys):
    spec = ClusterSpec((chief,), ('127.0.0.1:1',))
    with pytest.raises(UserError, match=rf'^ps 0 cannot listen on {chief} \(.*in use by another'):
        parameter_server.start(spec, Task('ps'), tf.ConfigProto())
    port = chief.split(':')[1]
    assert f'listening on port {port} of every interface' in capsys.readouterr().out


def test_it_ends_when_all_workers_are_done(chief):
    _wait(RUNNING, chief, [], [1], [], [0])


def test_it_ends_after_the_chief_if_another_worker_has_died(chief, monkeypatch, capsys):
    monkeypatch.setattr(parameter_server, 'OTHERS_SECS', -1.)
    _wait(RUNNING, chief, [0])
    assert 'ending without worker 1' in capsys.readouterr().out


def test_it_waits_for_the_others_after_the_chief(chief, capsys):
    _wait(RUNNING, chief, [0], [1])
    assert capsys.readouterr().out == ''


def test_after_a_signal_it_ends_when_the_chief_has_left_or_saved_long_enough(chief, monkeypatch):
    _wait(STOPPED, '127.0.0.1:1', [])
    monkeypatch.setattr(parameter_server, 'SAVE_SECS', -1.)
    _wait(STOPPED, chief, [])


def test_after_a_signal_it_serves_while_the_chief_saves(chief):
    _wait(STOPPED, chief, [], [0, 1])


def test_a_chief_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(parameter_server, 'PROBE_SECS', -1.)
    with pytest.raises(UserError, match=r'worker 0 \(127.0.0.1:1\), the chief, did not answer for'):
        _wait(RUNNING, '127.0.0.1:1', [], wait_secs=-1.)

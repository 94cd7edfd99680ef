"""The client of a task: it reads the states of parameter servers and sends messages."""

import threading

import pytest
import tensorflow.compat.v1 as tf

from permafrost.cluster.cluster_spec import ClusterSpec
from permafrost.cluster.servers import client
from tests.cluster import helpers

RUN = {'id': 1, 'name': 'the run runs/1'}


def test_tasks_read_the_states_and_change_them_by_messages():
    spec = helpers.free_spec(2, 1)
    with helpers.serving(spec) as publishers:
        servers = client.Servers(spec, tf.ConfigProto())
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
        servers = client.Servers(spec, tf.ConfigProto())
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
        servers = client.Servers(spec, tf.ConfigProto())
        monkeypatch.setattr(client, 'REQUEST_SECS', 1.)
        lost = client.Servers(ClusterSpec(('127.0.0.1:1', spec.ps[1]), spec.workers),
                                        tf.ConfigProto())
        with pytest.raises(tf.errors.UnavailableError):
            lost.send('claim', run=RUN, overwrite=False)
        while servers.states()[1].run is None:
            pass
        assert [state.run for state in servers.states()] == [None, RUN]

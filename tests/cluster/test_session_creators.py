"""How sessions begin: on a server in this process, with the chief and a worker."""

from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from permafrost.cluster import session_creators
from permafrost.errors import UserError
from permafrost.training import checkpoints

pytestmark = pytest.mark.usefixtures('default_graph')
SERVERS = {'ps 0': '127.0.0.1:1'}


class Cluster:
    """A server, a graph with two variables, and creators of sessions on it."""

    def __init__(self, run):
        self.server = tf.train.Server.create_local_server()
        self.run = run
        self.step = tf.train.get_or_create_global_step()
        self.set_step = self.step.assign(7)
        self.identity = tf.get_variable(
            'identity', [2], tf.int64, collections=['cluster'], initializer=tf.zeros_initializer())
        self.saver = tf.train.Saver()

    def worker(self, config_hash=1, run_id=0, servers=(), wait_secs=60., signal_code=0, **options):
        return session_creators.SessionCreator(
            target=self.server.target, config=tf.ConfigProto(), servers=dict(servers),
            variable=self.identity, config_hash=config_hash, run_id=run_id, wait_secs=wait_secs,
            signals=SimpleNamespace(code=signal_code), **options)

    def chief(self, run_id=5):
        return self.worker(run_id=run_id, run=self.run, saver=self.saver)

    def train(self, creator):
        """Open a session and set the global step to 7; return the step before."""
        with creator.create_session() as session:
            before = session.run(self.step)
            session.run(self.set_step)
            return before

    def save(self, step):
        with tf.Session(self.server.target) as session:
            self.saver.save(session, f'{self.run}/train/{checkpoints.PREFIX}', global_step=step)


@pytest.fixture
def cluster(default_graph, tmp_path):
    (tmp_path / 'train').mkdir()
    return Cluster(str(tmp_path))


def test_a_worker_joins_at_its_next_look_after_the_chief_is_ready(cluster, monkeypatch):
    chief, worker, sleeps = cluster.chief(), cluster.worker(), []

    def sleep(seconds):
        sleeps.append(seconds)
        assert cluster.train(chief) == 0

    monkeypatch.setattr(session_creators.time, 'sleep', sleep)
    assert cluster.train(worker) == 7
    assert sleeps == [session_creators.POLL_SECS]


def test_a_worker_that_waits_too_long_names_what_the_chief_has_not_set(cluster):
    with pytest.raises(UserError, match='the chief has not initialized '
                       '(global_step|identity), .* for 0 s'):
        cluster.worker(wait_secs=-1.).create_session()


def test_a_worker_that_trains_something_else_is_refused(cluster):
    worker, chief = cluster.worker(config_hash=2), cluster.chief()
    chief.create_session()
    with pytest.raises(UserError, match='the chief is training something else: start all'):
        worker.create_session()


def test_a_server_that_does_not_answer_is_named(cluster):
    with pytest.raises(UserError, match=r'^no answer from ps 0 \(127.0.0.1:1\) for 0 s: start'):
        cluster.worker(servers=SERVERS, wait_secs=-1.).create_session()


def test_waiting_is_reported(cluster, monkeypatch, capsys):
    chief, missing = cluster.chief(), ['ps 0 (p:1)', '']
    monkeypatch.setattr(session_creators, 'REPORT_SECS', -1.)
    monkeypatch.setattr(session_creators.network, 'unreachable', lambda servers: missing.pop(0))
    monkeypatch.setattr(session_creators.time, 'sleep', lambda seconds: None)
    cluster.train(chief)
    assert capsys.readouterr().out == 'waiting: no answer from ps 0 (p:1)\n'


def test_a_signal_ends_the_waiting(cluster):
    with pytest.raises(SystemExit) as error:
        cluster.worker(servers=SERVERS, signal_code=143).create_session()
    assert error.value.code == 143


def test_a_restarted_chief_continues_from_the_servers(cluster, capsys):
    first, second = cluster.chief(), cluster.chief()
    assert cluster.train(first) == 0
    assert cluster.train(second) == 7
    assert capsys.readouterr().out == ('parameter servers already hold step 7 of this run; '
                                       'continuing from it\n')


def test_the_chief_of_another_run_starts_anew(cluster):
    first, other = cluster.chief(), cluster.chief(run_id=6)
    cluster.train(first)
    assert cluster.train(other) == 0


def test_a_checkpoint_later_than_what_the_servers_hold_is_restored(cluster, capsys):
    first, second, third = cluster.chief(), cluster.chief(), cluster.chief()
    cluster.train(first)
    cluster.save(7)
    assert cluster.train(second) == 7  # not older: they continue
    assert 'already hold step 7' in capsys.readouterr().out
    cluster.save(9)  # its global step is 7 all the same
    assert cluster.train(third) == 7
    assert capsys.readouterr().out == 'restored step 9\n'

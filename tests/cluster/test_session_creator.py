"""How a chief's session begins: what it restores, initializes or continues."""

import pytest
import tensorflow.compat.v1 as tf

from permafrost.cluster.session_creator import SessionCreator
from permafrost.training.checkpoints import saving
from tests.cluster import helpers

pytestmark = pytest.mark.usefixtures('default_graph')


class Sessions:
    """Sessions of a chief, each in a graph of its own, that has the global step only."""

    def __init__(self, cluster, run):
        self.run = run
        self._cluster = cluster

    def train(self, run_id=1, save=False, step=7, **options):
        """Open a session and set the global step; return the one before."""
        admission = self._cluster.admission(place=self.run, run_id=run_id, **options)
        target = self._cluster.tasks[0].target
        with tf.Graph().as_default(), tf.device('/job:ps/task:0'):
            global_step = tf.train.get_or_create_global_step()
            set_step = global_step.assign(step, read_value=False)
            with tf.device('/job:worker/task:0'):
                saver = tf.train.Saver()
            creator = SessionCreator(
                target=target, config=tf.ConfigProto(), admission=admission, run=self.run,
                saver=saver)
            with creator.create_session() as session:
                before = session.run(global_step)
                session.run(set_step)
                if save:
                    saving.save(saver, session, self.run, step)
                admission.servers.send('ready', id=run_id)
                helpers.wait_until_ready(admission.servers)
                return before


@pytest.fixture
def sessions(cluster, publishers, tmp_path):
    (tmp_path / 'train').mkdir()
    return Sessions(cluster, str(tmp_path))


def test_a_restarted_chief_continues_from_the_servers(sessions, capsys):
    assert sessions.train() == 0
    assert sessions.train() == 7
    assert capsys.readouterr().out.endswith(
        'parameter servers already hold step 7 of this run; continuing from it\n')


def test_a_chief_restores_a_checkpoint_that_is_newer_than_the_servers(sessions, capsys):
    sessions.train(save=True)
    assert sessions.train(step=3) == 7
    assert sessions.train() == 7
    assert capsys.readouterr().out.endswith('restored step 7\n')


def test_a_chief_starts_anew_where_it_may_overwrite(sessions):
    sessions.train()
    assert sessions.train(run_id=6, overwrite=True) == 0


def test_the_last_checkpoint_is_restored_to_a_server_that_was_restarted(sessions, publishers,
                                                                        capsys):
    sessions.train(save=True)
    publishers[1].restart()
    assert sessions.train() == 7
    assert capsys.readouterr().out.endswith('restored step 7\n')

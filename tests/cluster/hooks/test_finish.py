"""How the tasks of a cluster end together, with a parameter server of this process."""

import time
from concurrent import futures
from types import SimpleNamespace

import pytest
import tensorflow.compat.v1 as tf

from permafrost.cluster import watchdog
from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.cluster.hooks import finish
from permafrost.cluster.servers import client
from permafrost.errors import UserError
from permafrost.training.hooks import StopHook
from tests.cluster import helpers


@pytest.fixture(scope='module')
def served():
    """The spec of a cluster, and the Publisher of its parameter server."""
    spec = helpers.free_spec(1, 2)
    with helpers.serving(spec) as (publisher,):
        yield spec, publisher


def claimed(served):
    """Return the Servers of `served`, which serve run 1 from its beginning."""
    spec, publisher = served
    publisher.restart()
    servers = client.Servers(spec, tf.ConfigProto())
    servers.send('claim', run={'id': 1, 'name': 'the run'}, overwrite=False)
    servers.send('ready', id=1)
    helpers.wait_until_ready(servers)
    return servers


class Finishing:
    """The FinishHook of worker 1 after the last step of run 1, in a thread of its own."""

    def __init__(self, served, wait_secs=60.):
        spec, self.publisher = served
        self.servers = claimed(served)
        member = SimpleNamespace(spec=spec, task=Task('worker', 1), servers=self.servers,
                                 config=SimpleNamespace(steps=9))
        admission = SimpleNamespace(run_id=1, wait_secs=wait_secs)
        self.signals = SimpleNamespace(code=0)
        self.hook = finish.FinishHook(member, admission, watchdog.Watchdog({}, {}, wait_secs),
                                      self.signals, None, [StopHook(None, 9, self.signals)])
        self._pool = futures.ThreadPoolExecutor(1)
        self.result = self._pool.submit(self.hook.finish, None, 9)

    def wait_for(self, field):
        while getattr(self.publisher.state, field) != [1]:
            time.sleep(.01)


def test_a_worker_is_done_when_the_chief_has_saved(served):
    finishing = Finishing(served)
    finishing.wait_for('finished')
    assert not finishing.result.done() and not finishing.hook.saved
    finishing.servers.send('saved', id=1)
    finishing.result.result(60.)
    assert finishing.hook.saved
    finishing.wait_for('left')


def test_a_worker_whose_servers_serve_another_run_loses_its_session(served):
    finishing = Finishing(served)
    finishing.servers.send('saved', id=1)
    finishing.result.result(60.)
    finishing.servers.send('claim', run={'id': 2, 'name': 'another run'}, overwrite=True)
    while finishing.servers.states()[0].run['id'] == 1:  # what the server has published
        time.sleep(.01)
    finishing.hook._last_look = -1e9
    with pytest.raises(tf.errors.UnavailableError, match='the servers serve another run'):
        finishing.hook._follow_chief()


def test_a_worker_goes_on_where_the_chief_restores_a_checkpoint(served):
    finishing = Finishing(served)
    finishing.wait_for('finished')
    finishing.servers.send('initializing', id=1)
    with pytest.raises(tf.errors.UnavailableError):
        finishing.result.result(60.)
    assert not finishing.hook.saved


def test_a_worker_whose_chief_does_not_save_fails(served):
    finishing = Finishing(served, wait_secs=-1.)
    with pytest.raises(UserError, match='the chief, has not saved step 9 within '):
        finishing.result.result(60.)
    assert not finishing.hook.saved


def test_a_signal_ends_the_waiting_for_the_chief(served):
    finishing = Finishing(served)
    finishing.wait_for('finished')
    finishing.signals.code = 143
    finishing.result.result(60.)
    assert not finishing.hook.saved


def test_a_worker_follows_a_chief_that_has_ended_the_training(served):
    finishing = Finishing(served)
    finishing.servers.send('saved', id=1)
    finishing.result.result(60.)
    hook = finishing.hook
    hook.saved, hook._last_look = False, time.monotonic()
    hook._follow_chief()
    assert not hook._stop.reason  # it has just looked
    hook._last_look -= 2 * finish.LOOK_SECS
    hook._follow_chief()
    assert hook._stop.reason == 'the chief has ended the training'
    hook.finish(None, 3)  # before the last step
    assert hook.saved


def test_a_worker_that_joins_after_the_end_makes_no_step(served):
    """A synchronous one would wait for a step that the chief does not make."""
    finishing = Finishing(served)
    finishing.servers.send('saved', id=1)
    finishing.result.result(60.)
    hook, stops = finishing.hook, []
    hook.saved = False
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(tf.train.get_or_create_global_step().initializer)
        hook.after_create_session(session, SimpleNamespace(request_stop=lambda: stops.append(1)))
    assert stops == [1] and hook.saved


class Waiting:
    """The FinishHook of the chief of run 1, while it waits for worker 1 at the last step."""

    def __init__(self, served, worker_address, servers=None):
        spec, _ = served
        self.servers = servers or claimed(served)
        member = SimpleNamespace(
            spec=ClusterSpec(spec.ps, (spec.workers[0], worker_address)), task=Task('worker', 0),
            servers=self.servers)
        self.signals = SimpleNamespace(code=0)
        hook = finish.FinishHook(member, SimpleNamespace(run_id=1), None, self.signals, 'run',
                                 [StopHook(None, 9, self.signals)])
        self.result = futures.ThreadPoolExecutor(1).submit(hook._wait_for_others)


@pytest.fixture
def worker_address():
    """The address of a worker that lives."""
    with helpers.listening() as address:
        yield address


@pytest.fixture
def waiting_long(monkeypatch):
    monkeypatch.setattr(finish, 'DRAIN_SECS', 90.)
    monkeypatch.setattr(finish, 'POLL_SECS', .05)


@pytest.mark.usefixtures('waiting_long')
def test_the_chief_waits_until_the_other_workers_have_finished(served, worker_address):
    waiting = Waiting(served, worker_address)
    time.sleep(.2)
    assert not waiting.result.done()
    waiting.servers.send('finished', id=1, worker=1)
    waiting.result.result(60.)


@pytest.mark.usefixtures('waiting_long')
def test_the_chief_does_not_wait_for_a_worker_that_has_died(served):
    Waiting(served, '127.0.0.1:1').result.result(60.)


@pytest.mark.usefixtures('waiting_long')
def test_a_signal_ends_the_waiting_for_other_workers(served, worker_address):
    waiting = Waiting(served, worker_address)
    waiting.signals.code = 143
    waiting.result.result(60.)


def test_the_chief_does_not_wait_long_for_a_worker_that_does_not_finish(
        served, worker_address, monkeypatch):
    monkeypatch.setattr(finish, 'DRAIN_SECS', .3)
    Waiting(served, worker_address).result.result(60.)


def test_a_server_that_has_just_started_ends_the_waiting_for_other_workers(served):
    """The chief then restores the last checkpoint: the server has nothing to save."""
    waiting = Waiting(served, '127.0.0.1:1', SimpleNamespace(states=lambda: [None]))
    with pytest.raises(tf.errors.UnavailableError):
        waiting.result.result(60.)


@pytest.mark.parametrize('code, sent', [(143, []), (0, ['done', 'saved'])])
def test_a_chief_that_a_signal_kept_from_its_evaluation_is_not_done(monkeypatch, code, sent):
    kinds = []
    hook = finish.FinishHook.__new__(finish.FinishHook)
    hook._signals, hook._stop = SimpleNamespace(code=code), SimpleNamespace(reason='')
    hook._watcher = watchdog.Watchdog({}, {}, 60.)
    hook._save_hooks, hook._run, hook.saved = [], 'run', False
    hook._final_hooks = [SimpleNamespace(end=lambda session: None, is_behind=lambda step: True)]
    monkeypatch.setattr(hook, '_wait_for_others', lambda: None)
    monkeypatch.setattr(hook, '_send', kinds.append)
    monkeypatch.setattr(finish.runs, 'write_status', lambda run, state: kinds.append(state))
    hook._save(SimpleNamespace(graph=tf.Graph()), 9)
    assert (kinds, hook.saved) == (sent, not code)

"""How tasks are admitted to parameter servers, which run in this process."""

import re
import threading
from concurrent import futures
from types import SimpleNamespace

import pytest

from permafrost import engines
from permafrost.cluster import network
from permafrost.cluster.cluster_spec import ClusterSpec
from permafrost.cluster.servers import admission
from permafrost.errors import UserError
from tests.cluster.admissions import TRAINING

pytestmark = pytest.mark.usefixtures('default_graph')


def _refused(task):
    with pytest.raises(UserError) as error:
        task.wait()
    assert '\n' not in str(error.value)
    return str(error.value)


def test_a_chief_claims_every_server_and_keeps_them_when_it_returns(cluster, publishers, capsys):
    for training in (TRAINING, dict(TRAINING, steps=7)):  # it may come back with more steps
        states = cluster.admission(place='runs/1', training=training).wait()
        assert [state.run['id'] for state in states] == [1, 1]
        assert [publisher.state.run['training'] for publisher in publishers] == [training] * 2
    assert capsys.readouterr().out.count('serving the run runs/1 of tuto on ') == 2  # one each


@pytest.mark.parametrize('other', [{}, {'model': 'lenet5'}, {'seed': 2}])
def test_the_chief_of_another_run_is_refused(cluster, publishers, other):
    cluster.hold(publishers, step=1630)
    training = dict(TRAINING, **other)
    message = _refused(cluster.admission(place='runs/2', run_id=2, training=training))
    assert message.startswith(f'ps 0 ({cluster.spec.ps[0]}) serves the run runs/1 of tuto on ')
    assert message.endswith(' at step 1630: start other servers for this run, or --overwrite '
                            'discards it')
    assert [publisher.state.run['id'] for publisher in publishers] == [1, 1]


def test_overwrite_discards_another_run(cluster, publishers):
    cluster.hold(publishers, step=1630)
    states = cluster.admission(place='runs/2', run_id=2, overwrite=True).wait()
    assert [(state.run['id'], state.ready) for state in states] == [(2, False)] * 2


@pytest.mark.parametrize('place', ['runs/1', 'runs'])
def test_a_run_whose_files_are_lost_is_continued_when_it_is_resumed(cluster, publishers, capsys,
                                                                    place):
    """The chief that lost its disk knows the run's place, or the place of all runs of the model."""
    cluster.hold(publishers, step=1630)
    message = _refused(cluster.admission(place=place, run_id=2))
    assert message.endswith('at step 1630: --resume continues it, --overwrite discards it')
    chief = cluster.admission(place=place, run_id=2, continue_lost=True)
    assert all(state.ready for state in chief.wait()) and chief.run_id == 1
    assert 'holds step 1630 of the run runs/1 ' in capsys.readouterr().out
    # not if it would train something else
    _refused(cluster.admission(place=place, run_id=3, continue_lost=True,
                               training=dict(TRAINING, seed=2)))


def test_one_of_two_chiefs_that_start_at_the_same_moment_is_refused(cluster, publishers):
    def wait(task):
        try:
            return task.wait()
        except UserError as error:
            return str(error)

    with futures.ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            for publisher in publishers:
                publisher.restart()
            tasks = [cluster.admission(place=f'runs/{n}', run_id=n) for n in (1, 2)]
            results = dict(zip((1, 2), pool.map(wait, tasks)))
            refused = [n for n, result in results.items() if isinstance(result, str)]
            assert len(refused) == 1 and 'serves the run runs/' in results[refused[0]]
            assert {publisher.state.run['id'] for publisher in publishers} == {3 - refused[0]}


@pytest.mark.parametrize('place', [None, 'runs/2'])
def test_a_task_of_another_cluster_is_refused(cluster, publishers, place):
    other = ClusterSpec(cluster.spec.ps, ('a:1', 'b:1'))
    message = _refused(cluster.admission(place=place, spec=other))
    assert message.endswith(
        f"for a cluster of ps {', '.join(cluster.spec.ps)} and workers "
        f"{', '.join(cluster.spec.workers)}: start other servers for this cluster, or give all "
        'tasks the same --ps_hosts and --worker_hosts')
    cluster.hold(publishers)
    assert 'serves the run runs/1 of tuto' in _refused(cluster.admission(place=place, spec=other))


def test_a_task_of_another_engine_is_refused(cluster, publishers, monkeypatch):
    cluster.hold(publishers)
    own = engines.installed()
    other = 'tf2' if own != 'tf2' else 'tf1'
    for task in (cluster.admission(1), cluster.admission(place='runs/1')):
        with monkeypatch.context() as patch:
            patch.setattr(engines, 'installed', lambda: other)
            assert f'this task runs {other}, but ps 0 ' in _refused(task)
    assert f' runs {own}: start all tasks with the same engine' in _refused_as(
        other, cluster, monkeypatch)
    if own != 'tf2':  # both are 1.15.5
        monkeypatch.setattr(engines, 'installed', lambda: 'tf1-mkl')
        cluster.admission(1).wait()


def _refused_as(engine, cluster, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(engines, 'installed', lambda: engine)
        return _refused(cluster.admission(1))


def test_a_second_process_of_a_task_is_refused(cluster, publishers, monkeypatch):
    cluster.hold(publishers)
    answer = network.TaskStatus('worker 1', 5)
    ask = network.ask
    monkeypatch.setattr(network, 'ask', lambda address: (
        answer if address == cluster.spec.workers[1] else ask(address)))
    assert _refused(cluster.admission(1)) == (
        f'worker 1 already runs at {cluster.spec.workers[1]}: give this task another --task_index, '
        'or stop that one first')


@pytest.mark.parametrize('changes, expected', [
    ({'seed': 2}, '(seed: 2 here, 1 on the chief): start all tasks with the same flags'),
    ({'dataset_identity': 'b' * 64}, '(dataset_identity: bbbbbbbbbbbb... here, aaaaaaaaaaaa... on '
     'the chief): give all tasks the same dataset'),
    ({'compute_dtype': 'bfloat16'}, 'give all tasks --compute_dtype=float32')])
def test_a_worker_that_trains_something_else_is_refused(cluster, publishers, changes, expected):
    cluster.hold(publishers)
    message = _refused(cluster.admission(1, training=dict(TRAINING, **changes)))
    assert message.startswith(f'worker 0 ({cluster.spec.workers[0]}), the chief, has different ')
    assert message.endswith(expected)


def test_a_worker_waits_for_a_chief_that_may_come_back_with_other_flags(cluster, publishers,
                                                                        monkeypatch):
    cluster.hold(publishers)
    monkeypatch.setattr(network, 'ask', lambda address: None)
    monkeypatch.setattr(network, 'unanswered', lambda addresses: '')
    assert 'the chief, does not answer for' in _refused(
        cluster.admission(1, training={}, wait_secs=-1.))


def test_a_worker_joins_when_the_chief_is_ready(cluster, publishers):
    worker, joined = cluster.admission(1), threading.Event()
    thread = threading.Thread(target=lambda: joined.set() if worker.wait() else None)
    thread.start()
    assert not joined.wait(.3)
    chief = cluster.hold(publishers)
    assert joined.wait(60.) and worker.run_id == 1
    thread.join()
    # A server that was restarted serves nobody: its variables are gone.
    publishers[1].restart()
    assert 'has not initialized the variables for' in _refused(
        cluster.admission(1, wait_secs=-1.))
    states = chief.wait()
    assert [state.ready for state in states] == [True, False]
    chief.servers.send('ready', id=1)
    cluster.admission(1).wait()


def test_a_worker_waits_until_a_chief_that_came_back_has_claimed_the_servers(
        cluster, publishers, monkeypatch):
    monkeypatch.setattr(admission, 'CLAIM_DELAY_SECS', 60.)
    cluster.hold(publishers)
    longer, joined = dict(TRAINING, steps=9), threading.Event()
    worker = cluster.admission(1, training=longer)
    thread = threading.Thread(target=lambda: joined.set() if worker.wait() else None)
    thread.start()
    assert not joined.wait(.3)
    cluster.admission(place='runs/1', training=longer).wait()
    assert joined.wait(60.)
    thread.join()


def test_a_server_that_does_not_answer_is_named(cluster, publishers):
    spec = ClusterSpec((cluster.spec.ps[0], '127.0.0.1:1'), cluster.spec.workers)
    message = _refused(cluster.admission(1, spec=spec, wait_secs=-1.))
    assert re.fullmatch(r'no answer from ps 1 \(127\.0\.0\.1:1\) for \d+ s: start the missing '
                        'task, then restart this one', message)
    with pytest.raises(SystemExit) as error:
        cluster.admission(1, spec=spec, signals=SimpleNamespace(code=143)).wait()
    assert error.value.code == 143


def test_waiting_is_reported(cluster, publishers, monkeypatch, capsys):
    cluster.hold(publishers)
    missing = ['ps 0 (p:1)', '']
    monkeypatch.setattr(admission, 'REPORT_SECS', -1.)
    monkeypatch.setattr(network, 'unanswered', lambda servers: missing.pop(0))
    capsys.readouterr()
    cluster.admission(1).wait()
    assert capsys.readouterr().out == 'waiting: no answer from ps 0 (p:1)\n'

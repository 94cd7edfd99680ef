"""Which cluster, and which task in it: flags, TF_CONFIG as other systems write it, cluster.json."""

import json

import pytest

from permafrost.cluster import cluster_spec
from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.errors import UsageError, UserError

PS, A, B = 'p:2222', 'a:2222', 'b:2222'
TWO = ClusterSpec((PS,), (A, B))


def _resolve(ps=None, workers=None, job=None, index=None, tf_config=None, run=None):
    environment = {}
    if tf_config is not None:
        text = tf_config if isinstance(tf_config, str) else json.dumps(tf_config)
        environment = {'TF_CONFIG': text}
    return cluster_spec.resolve_cluster(ps, workers, job, index, environment, run)


def _tf_config(cluster, job=None, index=0, **others):
    task = {} if job is None else {'task': {'type': job, 'index': index}}
    return dict(others, cluster=cluster, **task)


@pytest.mark.parametrize('cluster, job, index, expected', [
    # as Kubeflow's TFJob writes it: environment, index a number
    ({'ps': [PS], 'worker': [A, B]}, 'worker', 1, Task('worker', 1)),
    # as others do: the index a string
    ({'ps': [PS], 'worker': [A, B]}, 'worker', '0', Task('worker', 0)),
    ({'ps': [PS], 'worker': [A, B]}, 'ps', '0', Task('ps', 0)),
    # chief, or master of cloud trainers: comes before the workers
    ({'ps': [PS], 'chief': [A], 'worker': [B]}, 'chief', 0, Task('worker', 0)),
    ({'ps': [PS], 'chief': [A], 'worker': [B]}, 'worker', 0, Task('worker', 1)),
    ({'ps': [PS], 'master': [A], 'worker': [B]}, 'master', '0', Task('worker', 0)),
    ({'PS': [PS], 'Master': [A], 'Worker': [B]}, 'Worker', 0, Task('worker', 1)),
    ({'ps': [PS], 'chief': [], 'worker': [A, B]}, 'worker', 0, Task('worker', 0)),
    # the evaluator in the cluster, or out of it
    ({'ps': [PS], 'worker': [A, B], 'evaluator': ['e:2222']}, 'evaluator', 0, Task('evaluator')),
    ({'ps': [PS], 'worker': [A, B]}, 'evaluator', 0, Task('evaluator')),
])
def test_tf_config_gives_the_cluster_and_the_task(cluster, job, index, expected):
    context = _resolve(tf_config=_tf_config(cluster, job, index, environment='cloud'))
    assert (context.spec, context.task) == (TWO, expected)
    assert context.summary.count('from TF_CONFIG') == 2


@pytest.mark.parametrize('tf_config', [
    {}, {'task': {'type': 'master', 'index': 0}}, {'cluster': {}, 'task': {'type': 'worker'}},
    _tf_config({'chief': [A]}, 'chief'), _tf_config({'worker': [A]})])
def test_tf_config_of_one_machine_has_no_server(tf_config):
    context = _resolve(tf_config=tf_config)
    assert not context.spec.ps and context.task == Task('worker')


@pytest.mark.parametrize('tf_config, expected', [
    ('{', 'TF_CONFIG cannot be read'),
    ('[]', 'TF_CONFIG cannot be read'),
    ('{"cluster": [1]}', '(cluster must be an object of 0 to 1000000 items, not [1])'),
    ('{"task": 3}', '(task must be an object of 0 to 1000000 items, not 3)'),
    ('{"task": ' + '[' * 100000, '(too many brackets in brackets)'),
    ('{"task": {"type": ["ps"]}}',
     "(task.type must be text of 0 to 1000000 characters, not ['ps'])"),
    ('{"cluster": {"ps": ["p:1"], "worker": ["a:1"]}, "task": {"type": "ps", "index": 1e400}}',
     'task index inf must be a whole number'),
    (_tf_config({'ps': [PS], 'worker': [A, B]}, 'worker', 0.9), 'index 0.9 must be a whole'),
    (_tf_config({'ps': [PS], 'worker': [A, B]}, 'worker', True), 'index True must be a whole'),
    (_tf_config({'ps': [PS], 'wroker': [A]}, 'worker'), "'wroker'; did you mean worker?"),
    (_tf_config({'ps': [PS], 'worker': [A, B]}, 'gpu'), "unknown job 'gpu'"),
    (_tf_config({'ps': [PS], 'worker': [A, B]}, 'worker', 2), 'the cluster has worker 0 to 1'),
    (_tf_config({'ps': [PS], 'worker': [A, B]}, 'worker', 'x'), "'x' must be a whole number"),
    (_tf_config({'ps': [PS], 'worker': [A, B]}), 'which task is this?'),
    (_tf_config({'ps': [PS], 'worker': A}, 'worker'), 'must be a list'),
    (_tf_config({'ps': {'0': PS}, 'worker': [A]}, 'worker'), 'must be a list'),
    (_tf_config({'ps': [PS], 'chief': [A], 'master': [B]}, 'chief'), 'only one task can be the'),
    (_tf_config({'ps': [PS]}, 'ps'), 'needs at least one worker'),
    (_tf_config({'worker': [A, B]}, 'worker'), 'need a parameter server'),
    (_tf_config({'ps': [PS], 'worker': [A, PS]}, 'worker'), 'p:2222 is given twice'),
    (_tf_config({'ps': ['p'], 'worker': [A]}, 'ps'), 'write host:port'),
    (None, 'no cluster is given'),
])
def test_a_wrong_tf_config_is_refused_in_one_line(tf_config, expected):
    with pytest.raises(UsageError) as error:
        _resolve(tf_config=tf_config)
    assert expected in str(error.value) and '\n' not in str(error.value)


def test_flags_override_tf_config_which_overrides_cluster_json(tmp_path):
    run, saved = str(tmp_path), ClusterSpec(('r:1',), ('s:1',))
    cluster_spec.save_cluster_json(run, saved, 'async', 0, 3)
    context = _resolve(job='ps', run=run)
    assert context.spec == saved
    assert context.summary == (f'1 ps, 1 worker (from {run}/cluster.json); this is ps 0 '
                               '(from flags)')
    tf_config = _tf_config({'ps': [PS], 'worker': [A, B]}, 'worker', 1)
    assert _resolve(tf_config=tf_config, run=run)[:2] == (TWO, Task('worker', 1))
    context = _resolve(['x:1'], ['y:1', 'z:1'], tf_config=tf_config, run=run)
    assert context[:2] == (ClusterSpec(('x:1',), ('y:1', 'z:1')), Task('worker', 1))
    assert context.summary == '1 ps, 2 workers (from flags); this is worker 1 (from TF_CONFIG)'
    assert _resolve(job='chief', tf_config=tf_config).task == Task('worker', 0)


def test_a_task_index_alone_keeps_the_job_of_tf_config():
    tf_config = _tf_config({'ps': [PS, B], 'worker': [A]}, 'ps', 0)
    assert _resolve(index=1, tf_config=tf_config).task == Task('ps', 1)


@pytest.mark.parametrize('ps, workers, job, index, expected', [
    ([PS], None, 'ps', 0, 'go together'),
    ([PS], [A, B], None, None, 'which task is this?'),
    ([PS], [A, B], 'worker', None, 'which worker is this? give --task_index, 0 to 1'),
    ([PS], [A, B], 'ps', 1, 'there is no ps 1'),
])
def test_wrong_flags_are_refused(ps, workers, job, index, expected):
    with pytest.raises(UsageError) as error:
        _resolve(ps, workers, job, index)
    assert expected in str(error.value)


@pytest.mark.parametrize('text', [
    '{"ps": ["p:1"]}', '[]', '{', '{"ps": ["p:1"], "workers": ["a:1"], "run_id": "1"}'])
def test_a_damaged_cluster_json_is_refused(tmp_path, text):
    (tmp_path / 'cluster.json').write_text(text)
    with pytest.raises(UserError, match=r'cluster.json is damaged \(.*\): delete it'):
        _resolve(job='ps', run=str(tmp_path))


@pytest.mark.parametrize('ps', ['3', '[3]', '"p:1"', 'null', '{"1": "p:1"}'])
def test_hosts_in_cluster_json_must_be_lists_of_addresses(tmp_path, ps):
    (tmp_path / 'cluster.json').write_text(f'{{"ps": {ps}, "workers": ["a:1"]}}')
    with pytest.raises(UserError, match=r'cluster.json is damaged \(ps(\[0\])? must be '):
        _resolve(job='ps', run=str(tmp_path))


def test_cluster_json_of_an_earlier_version_is_read(tmp_path):
    """Its run_id is called number."""
    (tmp_path / 'cluster.json').write_text(json.dumps({
        'backup_workers': 0, 'mode': 'async', 'number': 7, 'ps': [PS], 'workers': [A, B]}))
    run = str(tmp_path)
    assert _resolve(job='ps', run=run).spec == TWO
    assert cluster_spec.load_cluster_json(run)['run_id'] == 7
    cluster_spec.save_cluster_json(run, TWO, 'sync', 1, 7)
    assert cluster_spec.load_cluster_json(run) == {
        'backup_workers': 1, 'mode': 'sync', 'run_id': 7, 'ps': [PS], 'workers': [A, B]}


def test_tasks_have_names():
    assert TWO.tasks() == {'ps 0': PS, 'worker 0': A, 'worker 1': B}
    assert TWO.servers() == {'ps 0': PS}
    assert [str(task) for task in (Task('worker'), Task('worker', 1), Task('evaluator'))] == [
        'worker 0', 'worker 1', 'evaluator']
    assert 'this is worker 0 (chief) (from flags)' in _resolve([PS], [A, B], 'chief').summary

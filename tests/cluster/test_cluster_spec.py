"""Which cluster, and which task of it: flags, TF_CONFIG as others write it, cluster.json."""

import json

import pytest

from permafrost.cluster import cluster_spec, network
from permafrost.errors import UsageError, UserError

PS, A, B = 'p:2222', 'a:2222', 'b:2222'
TWO = cluster_spec.ClusterSpec((PS,), (A, B))


def _choose(ps=None, workers=None, job=None, index=None, tf_config=None, run=None):
    environment = {} if tf_config is None else {'TF_CONFIG': tf_config if isinstance(
        tf_config, str) else json.dumps(tf_config)}
    place = cluster_spec.resolve_cluster(ps, workers, job, index, environment, run)
    return place.spec, place.task, place.says


def _tf(cluster, kind=None, index=0, **rest):
    task = {} if kind is None else {'task': {'type': kind, 'index': index}}
    return dict(rest, cluster=cluster, **task)


def test_an_index_alone_keeps_the_job_of_the_environment():
    of_cloud = _tf({'ps': [PS, B], 'worker': [A]}, 'ps', 0)
    assert _choose(index=1, tf_config=of_cloud)[1] == cluster_spec.Task('ps', 1)


@pytest.mark.parametrize('cluster, kind, index, expected', [
    # as Kubeflow's TFJob writes it: environment, index a number
    ({'ps': [PS], 'worker': [A, B]}, 'worker', 1, cluster_spec.Task('worker', 1)),
    # as others do: the index a string
    ({'ps': [PS], 'worker': [A, B]}, 'worker', '0', cluster_spec.Task('worker', 0)),
    ({'ps': [PS], 'worker': [A, B]}, 'ps', '0', cluster_spec.Task('ps', 0)),
    # chief, or master of cloud trainers: comes before the workers
    ({'ps': [PS], 'chief': [A], 'worker': [B]}, 'chief', 0, cluster_spec.Task('worker', 0)),
    ({'ps': [PS], 'chief': [A], 'worker': [B]}, 'worker', 0, cluster_spec.Task('worker', 1)),
    ({'ps': [PS], 'master': [A], 'worker': [B]}, 'master', '0', cluster_spec.Task('worker', 0)),
    ({'PS': [PS], 'Master': [A], 'Worker': [B]}, 'Worker', 0, cluster_spec.Task('worker', 1)),
    # the evaluator in the cluster, or out of it
    ({'ps': [PS], 'worker': [A, B], 'evaluator': ['e:2222']}, 'evaluator', 0, cluster_spec.Task('evaluator')),
    ({'ps': [PS], 'worker': [A, B]}, 'evaluator', 0, cluster_spec.Task('evaluator')),
    # index -> address
    ({'ps': {'0': PS}, 'worker': {'1': B, '0': A}}, 'worker', 1, cluster_spec.Task('worker', 1)),
])
def test_tf_config(cluster, kind, index, expected):
    found, task, says = _choose(tf_config=_tf(cluster, kind, index, environment='cloud'))
    assert (found, task) == (TWO, expected)
    assert says.count('from TF_CONFIG') == 2


@pytest.mark.parametrize('tf_config', [
    {}, {'task': {'type': 'master', 'index': 0}}, {'cluster': {}, 'task': {'type': 'worker'}},
    _tf({'chief': [A]}, 'chief'), _tf({'worker': [A]})])
def test_one_machine_is_no_cluster(tf_config):
    found, task, _ = _choose(tf_config=tf_config)
    assert not found.ps and task == cluster_spec.Task('worker')


@pytest.mark.parametrize('tf_config, expected', [
    ('{', 'TF_CONFIG cannot be read'),
    ('[]', 'TF_CONFIG cannot be read'),
    (_tf({'ps': [PS], 'wroker': [A]}, 'worker'), "'wroker'; did you mean worker?"),
    (_tf({'ps': [PS], 'worker': [A, B]}, 'gpu'), "unknown job 'gpu'"),
    (_tf({'ps': [PS], 'worker': [A, B]}, 'worker', 2), 'no worker 2: the cluster has 0 to 1'),
    (_tf({'ps': [PS], 'worker': [A, B]}, 'worker', 'x'), "'x' is not a number"),
    (_tf({'ps': [PS], 'worker': [A, B]}), 'which task is this?'),
    (_tf({'ps': [PS], 'worker': A}, 'worker'), 'must be a list'),
    (_tf({'ps': [PS], 'chief': [A], 'master': [B]}, 'chief'), 'one task is the chief'),
    (_tf({'ps': [PS]}, 'ps'), 'needs a worker'),
    (_tf({'worker': [A, B]}, 'worker'), 'need a parameter server'),
    (_tf({'ps': [PS], 'worker': [A, PS]}, 'worker'), 'p:2222 is named twice'),
    (_tf({'ps': ['http://p:2222'], 'worker': [A]}, 'ps'), 'write host:port'),
    (_tf({'ps': ['p'], 'worker': [A]}, 'ps'), 'write host:port'),
    (_tf({'ps': ['p:70000'], 'worker': [A]}, 'ps'), 'write host:port'),
    (None, 'no cluster is named'),
])
def test_what_cannot_be_meant_is_refused(tf_config, expected):
    with pytest.raises(UsageError) as error:
        _choose(tf_config=tf_config)
    assert expected in str(error.value) and '\n' not in str(error.value)


def test_flags_win_over_tf_config_which_wins_over_cluster_json(tmp_path):
    run = str(tmp_path)
    cluster_spec.save_cluster_json(run, cluster_spec.ClusterSpec(('r:1',), ('s:1',)))
    assert _choose(job='ps', run=run)[::2] == (
        cluster_spec.ClusterSpec(('r:1',), ('s:1',)), '1 ps, 1 worker (from %s/cluster.json); this is ps 0 (from '
        'flags)' % run)
    tf_config = _tf({'ps': [PS], 'worker': [A, B]}, 'worker', 1)
    assert _choose(tf_config=tf_config, run=run)[:2] == (TWO, cluster_spec.Task('worker', 1))
    found, task, says = _choose(['x:1'], ['y:1', 'z:1'], tf_config=tf_config, run=run)
    assert (found, task) == (cluster_spec.ClusterSpec(('x:1',), ('y:1', 'z:1')), cluster_spec.Task('worker', 1))
    assert says == '1 ps, 2 workers (from flags); this is worker 1 (from TF_CONFIG)'
    assert _choose(job='chief', tf_config=tf_config)[1] == cluster_spec.Task('worker', 0)


@pytest.mark.parametrize('ps, workers, job, index, expected', [
    ([PS], None, 'ps', 0, 'go together'),
    ([PS], [A, B], None, None, 'which task is this?'),
    ([PS], [A, B], 'worker', None, 'which worker is this? give --task_index, 0 to 1'),
    ([PS], [A, B], 'ps', 1, 'there is no ps 1'),
])
def test_flags_that_cannot_be_meant(ps, workers, job, index, expected):
    with pytest.raises(UsageError, match=expected.replace('?', r'\?')):
        _choose(ps, workers, job, index)


def test_a_damaged_cluster_json_is_named(tmp_path):
    (tmp_path / 'cluster.json').write_text('{"ps": 3}')
    with pytest.raises(UserError, match='cluster.json is damaged'):
        _choose(job='ps', run=str(tmp_path))


@pytest.mark.parametrize('address, public', [
    ('127.0.0.1:1', False), ('10.1.2.3:1', False), ('172.16.0.1:1', False),
    ('192.168.1.1:1', False), ('169.254.1.1:1', False), ('[::1]:1', False),
    ('[fd00::1]:1', False), ('localhost:1', False),
    ('8.8.8.8:1', True), ('172.32.0.1:1', True), ('[2001:4860:4860::8888]:1', True),
    ('no-such-host.invalid:1', False)])
def test_public_addresses_are_refused(address, public, capsys):
    assert bool(network.public_addresses([address])) is public
    if not public:
        return network.require_private([address], False)
    with pytest.raises(UsageError, match='--allow_public'):
        network.require_private([A, address], False)
    network.require_private([address], True)
    assert 'warning: %s is public' % address in capsys.readouterr().out


def test_proxies_are_not_used_for_the_hosts_of_the_cluster():
    assert network.bypass_proxies([A], {}) is None
    environment = {'HTTPS_PROXY': 'http://proxy:3128', 'no_proxy': 'b,x.org'}
    assert 'https_proxy' in network.bypass_proxies([A, B, '[::1]:2'], environment)
    for name in ('no_proxy', 'NO_PROXY', 'no_grpc_proxy'):
        assert environment[name] == 'b,x.org,a,::1'

"""Clusters of real processes: what is trained, how it ends, and what it survives."""

import os
import re
import signal
import socket
import time

import pytest
import tensorflow.compat.v1 as tf

from permafrost import runs, runtime
from permafrost.cluster import cluster_spec, local_cluster
from permafrost.training import checkpoints
from tests import processes

# At a rate of 0.1 so small batches diverge after some hundred steps, in one process as well.
FLAGS = ('--model=squeeze1', '--data_set=synthetic', '--set=batch_size=16',
         '--set=learning_rate=0.001', '--summary_steps=0', '--histogram_steps=0', '--log_steps=1',
         '--wait_secs=60')
TIMEOUT = 240  # seconds until a cluster is taken to hang


def _cluster(dataset, run, *arguments, workers=2, servers=1, **options):
    return local_cluster.LocalCluster(servers, workers, FLAGS + (
        '--data_dir=' + dataset.directory, '--run=%s' % run) + arguments, **options)


def _until(cluster, name, pattern, after=0):
    """The first line of task `name`, from its number `after` on, in which `pattern` is found."""
    limit = time.time() + TIMEOUT
    while time.time() < limit:
        for line in list(cluster.lines.get(name, ()))[after:]:
            if re.search(pattern, line):
                return line
        # A task that has ended will say no more, once its last lines are read.
        if cluster.tasks[name].poll() is not None and not cluster.reading(name):
            break
        time.sleep(.05)
    raise AssertionError('%s never said %r:\n%s' % (name, pattern, _all(cluster)))


def _all(cluster):
    return '\n'.join('%s: %s' % (name, line) for name, lines in cluster.lines.items()
                     for line in lines)


def _steps(cluster, name):
    """The numbers of the global steps that task `name` has logged, in order."""
    return [int(step) for line in cluster.lines[name]
            for step in re.findall(r'^step (\d+)/', line)]


def _finished(cluster, *names, timeout=TIMEOUT):
    """Waits for the tasks to end well."""
    codes = cluster.wait(*names, timeout=timeout)
    assert not any(codes.values()), '%s\n%s' % (codes, _all(cluster))
    for name in codes:
        assert not [line for line in cluster.lines[name] if 'Traceback' in line], _all(cluster)


def _servers_hold(checkpoint):
    reader = tf.train.load_checkpoint(checkpoint)
    return int(reader.get_tensor('global_step')), reader.get_variable_to_shape_map()


@pytest.fixture(scope='module')
def trained(synthetic, tmp_path_factory):
    """(cluster, run, seconds from a task's start to its end) of 1 server and 2 workers that trained
    240 steps behind a proxy that does not exist, the server in another directory than the chief:
    the run's name is relative, so it sees none."""
    chief, elsewhere = (tmp_path_factory.mktemp(name) for name in ('chief', 'elsewhere'))
    proxies = dict.fromkeys(('http_proxy', 'https_proxy', 'grpc_proxy'), 'http://127.0.0.1:9')
    with _cluster(synthetic, 'run', '--steps=240', '--save_steps=80', environment=proxies,
                  directory=str(elsewhere)) as cluster:
        cluster.start('ps 0', 'worker 1')
        cluster.directory = str(chief)
        cluster.start('worker 0')
        _until(cluster, 'worker 0', '^step [3-6]')
        evaluation = processes.command('eval.py', '--run=%s' % (chief / 'run'), '--follow',
                                       '--data_dir=' + synthetic.directory)
        figures = processes.finish(evaluation)
        _finished(cluster)
        yield cluster, str(chief / 'run'), figures


def test_all_tasks_end_and_every_step_counts(trained):
    cluster, run, _ = trained
    step, checkpoint = checkpoints.find_checkpoint(run)
    assert 240 <= step <= 241  # at most workers - 1 past the last
    assert _servers_hold(checkpoint)[0] == step
    assert runs.read_status(run)['state'] == 'done'
    for name in ('worker 0', 'worker 1'):
        assert len(_steps(cluster, name)) > 2
    assert 'done' in cluster.lines['ps 0'] and 'done' in cluster.lines['worker 1']


def test_what_each_task_says_at_its_start(trained):
    cluster, _, _ = trained
    for name, port in cluster.hosts.items():
        said = '\n'.join(cluster.lines[name])
        assert 'listening on port %s of every interface' % port.split(':')[1] in said
        assert 'without password' in said
        assert 'proxy: grpc_proxy, http_proxy, https_proxy is set, and not used for' in said
        assert 'cluster: 1 ps, 2 workers (from flags); this is ' + name in said


def test_the_spec_is_remembered(trained):
    cluster, run, _ = trained
    place = cluster_spec.resolve_cluster([], [], 'worker', 1, {}, run)
    assert list(place.spec.tasks().values()) == list(cluster.hosts.values())


def test_a_server_that_shares_no_disk_with_the_chief_restores(trained, synthetic):
    """The trained run goes on: TF_CONFIG names the cluster this time."""
    _, run, _ = trained
    before = max(checkpoints.list_checkpoints(run))
    folder, name = os.path.split(run)
    with _cluster(synthetic, name, '--resume', '--steps=%d' % (before + 6),
                  directory=os.path.dirname(folder)) as cluster:
        cluster.by_tf_config = True
        cluster.start('ps 0', 'worker 1')
        cluster.directory = folder
        cluster.start('worker 0')
        _finished(cluster)
        assert 'restored step %d' % before in cluster.lines['worker 0']
        assert '2 workers (from TF_CONFIG)' in cluster.lines['worker 1'][0]
        assert min(_steps(cluster, 'worker 0') + _steps(cluster, 'worker 1')) == before + 1
    assert max(checkpoints.list_checkpoints(run)) - before in (6, 7)


def test_eval_follows_a_cluster_to_its_end(trained):
    _, run, figures = trained
    assert 'step %d: ' % max(checkpoints.list_checkpoints(run)) in figures or 'step 24' in figures


@pytest.mark.slow
def test_killed_workers_and_servers_come_back_and_lose_nothing_saved(synthetic, tmp_path):
    """A worker, the server and the chief are killed in turn, and started again."""
    with _cluster(synthetic, tmp_path, '--steps=100000', '--save_steps=10', '--resume') as cluster:
        cluster.start()
        for name in ('worker 0', 'worker 1'):  # the chief, which saves first, may be the later
            _until(cluster, name, '^step')
        cluster.send(signal.SIGKILL, 'worker 1')
        reached = max(_steps(cluster, 'worker 0'))
        _until(cluster, 'worker 0', '^step %d/' % (reached + 20))  # goes on without it
        seen = len(cluster.lines['worker 1'])
        cluster.start('worker 1')
        _until(cluster, 'worker 1', '^first step', seen)

        saved = max(checkpoints.list_checkpoints(str(tmp_path)))
        cluster.send(signal.SIGKILL, 'ps 0')
        seen = {name: len(lines) for name, lines in cluster.lines.items()}
        cluster.wait('ps 0')
        cluster.start('ps 0')
        restored = _until(cluster, 'worker 0', '^restored step', seen['worker 0'])
        assert int(restored.split()[-1]) >= saved
        for name in ('worker 0', 'worker 1'):
            _until(cluster, name, '^step', seen[name] + 1)

        saved = max(checkpoints.list_checkpoints(str(tmp_path)))
        cluster.send(signal.SIGKILL, 'worker 0')
        cluster.wait('worker 0')
        reached, seen = max(_steps(cluster, 'worker 1')), len(cluster.lines['worker 0'])
        cluster.start('worker 0')
        held = _until(cluster, 'worker 0', '^the servers hold step', seen)
        assert int(held.split()[4]) >= saved
        _until(cluster, 'worker 0', '^first step', seen)

        # All saved, the run is continued by the same commands: as one does after a signal.
        codes = cluster.stop(signal.SIGTERM)
        assert codes == {'ps 0': 143, 'worker 0': 143, 'worker 1': 143}, _all(cluster)
        step = max(checkpoints.list_checkpoints(str(tmp_path)))
        assert 'stopped at step %d' % step in '\n'.join(cluster.lines['worker 0'])
        assert runs.read_status(str(tmp_path))['state'] == 'stopped'
        cluster.start(more=['--steps=%d' % (step + 10)])
        _finished(cluster)
    assert 10 <= max(checkpoints.list_checkpoints(str(tmp_path))) - step <= 11


@pytest.mark.slow
def test_sync_counts_are_equal_and_all_end_soon(synthetic, tmp_path):
    """The chief is started first and alone: it must not make steps by itself."""
    with _cluster(synthetic, tmp_path, '--mode=sync', '--steps=25') as cluster:
        cluster.start('ps 0', 'worker 0')
        _until(cluster, 'worker 0', '^run: ')
        cluster.start('worker 1')
        last = _until(cluster, 'worker 0', '^step 25/25')
        ended = time.time()
        _finished(cluster, timeout=60)
        assert time.time() - ended < 20, last  # the bound that was asked for
        for name in ('worker 0', 'worker 1'):
            assert _steps(cluster, name) == list(range(1, 26))
    assert max(checkpoints.list_checkpoints(str(tmp_path))) == 25


@pytest.mark.slow
def test_a_late_worker_joins_at_once(synthetic, tmp_path):
    """It polls every second; TensorFlow's own sessions sleep for 30."""
    with _cluster(synthetic, tmp_path, '--steps=100000') as cluster:
        cluster.start('ps 0', 'worker 1')
        _until(cluster, 'worker 1', '^listening')
        time.sleep(3)  # it has looked for the model, and found none
        cluster.start('worker 0')
        _until(cluster, 'worker 0', '^first step')
        ready = time.time()
        _until(cluster, 'worker 1', '^first step')
        assert time.time() - ready < 20
        cluster.send(signal.SIGINT, 'worker 0', 'ps 0')
        assert cluster.wait('worker 0', 'ps 0', timeout=60) == {'worker 0': 130, 'ps 0': 130}


@pytest.mark.slow
def test_who_is_missing_is_named(synthetic, tmp_path):
    with _cluster(synthetic, tmp_path, '--wait_secs=3', workers=3) as cluster:
        cluster.start('worker 0', 'worker 1')
        assert cluster.wait(timeout=TIMEOUT) == {'worker 0': 1, 'worker 1': 1}
        for name in ('worker 0', 'worker 1'):
            assert re.search(r'error: no answer from ps 0 \(%s\) for \d+ s: start what is missing'
                             % cluster.hosts['ps 0'], '\n'.join(cluster.lines[name]))
        cluster.start('worker 2')
        _until(cluster, 'worker 2', '^listening')
        cluster.start('ps 0', more=['--wait_secs=15'])  # longer than the worker waits
        assert cluster.wait('worker 2', 'ps 0', timeout=TIMEOUT) == {'worker 2': 1, 'ps 0': 1}
        assert re.search('error: (the chief has not set|no answer from ps 0)',
                         '\n'.join(cluster.lines['worker 2']))
        assert re.search(r'error: worker 0 \(\S+\), the chief, did not answer for 15 s',
                         '\n'.join(cluster.lines['ps 0']))


@pytest.mark.slow
def test_a_worker_that_trains_something_else_is_refused(synthetic, tmp_path):
    with _cluster(synthetic, tmp_path, '--steps=100000') as cluster:
        cluster.start('ps 0', 'worker 0')
        cluster.start('worker 1', more=['--seed=2'])
        assert cluster.wait('worker 1', timeout=TIMEOUT) == {'worker 1': 1}
        assert 'error: the chief trains something else' in cluster.lines['worker 1'][-1]


@pytest.mark.slow
def test_sigterm_while_a_synchronous_step_waits_for_others(synthetic, tmp_path):
    """The chief's main thread is held by TensorFlow; it saves and exits all the same."""
    with _cluster(synthetic, tmp_path, '--mode=sync', '--steps=100000') as cluster:
        cluster.start()
        _until(cluster, 'worker 0', '^step 5/')
        cluster.send(signal.SIGKILL, 'worker 1')
        cluster.wait('worker 1')
        reached = max(_steps(cluster, 'worker 0'))
        cluster.send(signal.SIGTERM, 'worker 0', 'ps 0')
        assert cluster.wait('worker 0', 'ps 0', timeout=60) == {'worker 0': 143, 'ps 0': 143}
    assert max(checkpoints.list_checkpoints(str(tmp_path))) >= reached


@pytest.mark.slow
def test_two_workers_follow_the_steps_of_one_process(synthetic, tmp_path):
    """Of twice the batch: the mean of both losses is the one process's, but for rounding.

    The rate is low: at 0.1 rounding grows tenfold in two steps, as it does between one thread and
    two of one process.
    """
    flags = ('--model=tuto', '--set=batch_size=32', '--set=learning_rate=0.0005', '--steps=50',
             '--deterministic')
    alone = processes.finish(processes.training(
        synthetic, tmp_path / 'alone', *flags + ('--summary_steps=0', '--histogram_steps=0')))
    with _cluster(synthetic, tmp_path / 'both', '--mode=sync', *flags) as cluster:
        cluster.start()
        _finished(cluster)
        both = [_losses(cluster.lines[name]) for name in ('worker 0', 'worker 1')]
    expected = _losses(alone.splitlines())
    assert sorted(expected) == list(range(1, 51))
    for step, loss in expected.items():
        assert abs((both[0][step] + both[1][step]) / 2 - loss) < 1e-4, step


def _losses(lines):
    """{step: loss} of lines of progress."""
    found = (re.match(r'step (\d+)/.* loss ([\d.]+)', line) for line in lines)
    return {int(match.group(1)): float(match.group(2)) for match in found if match}


@pytest.mark.slow
@pytest.mark.skipif(runtime.installed() != 'tf2', reason='one engine is enough: it takes minutes')
def test_soak():
    """Random kills for a minute; see the script."""
    output = processes.finish(processes.command(
        'tools/soak.py', '--minutes=1', '--least=10', '--most=20', '--grace_steps=50'), timeout=580)
    assert re.search(r'^[2-9] kills; the run reached its last step', output, re.M), output


@pytest.mark.slow
def test_a_local_cluster_merges_logs_and_stops_cleanly(synthetic, tmp_path):
    arguments = processes.command(
        'tools/local_cluster.py', '--evaluator', '--data_dir=' + synthetic.directory,
        '--run=%s' % tmp_path, '--save_steps=5', '--resume', *FLAGS)
    code, output = processes.interrupt(arguments + ['--steps=100000'], '^worker 1: step',
                                       signal.SIGINT)
    assert code == 130 and 'Traceback' not in output, output
    step = max(checkpoints.list_checkpoints(str(tmp_path)))
    assert 'worker 0: stopped at step %d' % step in output
    output = processes.finish(arguments + ['--steps=%d' % (step + 5)])
    last = max(checkpoints.list_checkpoints(str(tmp_path)))
    for line in ('worker 0: done at step %d' % last, 'worker 1: done', 'ps 0: done',
                 'evaluator: step %d: ' % last):
        assert line in output
    processes.finish(arguments + ['--steps=%d' % (step + 5)])  # there is no more to do: all end
    assert max(checkpoints.list_checkpoints(str(tmp_path))) == last


def test_a_run_on_another_host_is_followed_by_its_status(tmp_path):
    (tmp_path / 'lock').touch()
    run = str(tmp_path)
    runs.write_status(run, state='running', host=socket.gethostname())
    assert not runs.is_running(run)  # it holds no lock here: it was killed
    runs.write_status(run, host='another')
    assert runs.is_running(run)
    runs.write_status(run, state='done')
    assert not runs.is_running(run)


def test_a_port_in_use_and_a_public_address_are_one_line(synthetic, tmp_path):
    arguments = FLAGS + ('--data_dir=' + synthetic.directory, '--run=%s' % tmp_path)
    with socket.socket() as taken:
        taken.bind(('', 0))
        taken.listen(1)
        output = processes.finish(processes.command(
            'train_cluster.py', '--ps_hosts=127.0.0.1:%d' % taken.getsockname()[1],
            '--worker_hosts=127.0.0.1:1', '--job_name=ps', *arguments), 1)
    assert re.search(r'^error: ps 0 cannot listen on 127.0.0.1:\d+ .* taken by another', output,
                     re.M)
    output = processes.finish(processes.command(
        'train_cluster.py', '--ps_hosts=8.8.8.8:2222', '--worker_hosts=127.0.0.1:1',
        '--job_name=ps', *arguments), 2)
    assert 'error: 8.8.8.8:2222 is public' in output and '--allow_public' in output


def test_one_machine_in_tf_config_trains_alone(synthetic, tmp_path, monkeypatch):
    monkeypatch.setenv('TF_CONFIG', '{"task": {"type": "master", "index": 0}}')
    output = processes.finish(processes.command(
        'train_cluster.py', '--data_dir=' + synthetic.directory, '--run=%s' % tmp_path,
        '--steps=2', *FLAGS))
    assert 'done at step 2' in output and 'listening' not in output

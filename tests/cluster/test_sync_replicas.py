"""Synchronous training: shards of the batch; clusters of real processes."""

import re
import signal

import pytest

from permafrost import runs
from permafrost.cluster import sync_replicas
from permafrost.errors import UsageError
from permafrost.evaluation import history
from permafrost.inputs.pipeline import Shard
from permafrost.training.checkpoints import finding
from tests import in_process, processes
from tests.cluster import helpers


def test_backup_workers_repeat_the_shards_of_the_first_workers():
    shards = [sync_replicas.SyncReplicas(4, 1, index).shard() for index in range(4)]
    assert shards == [Shard(i, 3) for i in (0, 1, 2, 0)]


@pytest.mark.parametrize('backup_workers', [-1, 2, 3])
def test_at_least_one_worker_must_be_waited_for(backup_workers):
    with pytest.raises(UsageError, match='leaves none of 2 workers to wait for: use 0 to 1'):
        sync_replicas.SyncReplicas(2, backup_workers, 1)


@pytest.mark.slow
def test_every_worker_makes_every_step(synthetic, tmp_path):
    """The chief starts first and must not make steps alone; their images grow on the way."""
    flags = ('--model=squeeze1', '--mode=sync', '--steps=25',
             '--progressive_resizing=crop 0:20 0.5:24')
    with helpers.make_cluster(synthetic, tmp_path, *flags) as cluster:
        cluster.start('ps 0', 'worker 0')
        helpers.wait_for_line(cluster, 'worker 0', '^run: ')
        cluster.start('worker 1')
        helpers.wait_for_line(cluster, 'worker 0', '^step 25/25')
        helpers.assert_ends_well(cluster, timeout=60)
        for name in ('worker 0', 'worker 1'):
            assert cluster.steps(name) == list(range(1, 26))
    assert finding.last_step(str(tmp_path)) == 25


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['sync', 'async'])
def test_all_workers_end_with_a_chief_that_stops_early(synthetic, tmp_path, mode):
    flags = (f'--mode={mode}', '--steps=100000', '--validation=100', '--eval_epochs=0.5',
             '--patience=2', '--set=learning_rate=1e-9')
    with helpers.make_cluster(synthetic, tmp_path, *flags) as cluster:
        cluster.start()
        helpers.wait_for_line(cluster, 'worker 0', 'no better validation accuracy in 2 evaluations')
        helpers.assert_ends_well(cluster, timeout=60)
    assert runs.read_status(str(tmp_path))['state'] == 'done'
    assert len(history.read(str(tmp_path))) >= 3


@pytest.mark.slow
def test_sigterm_saves_although_a_step_waits_for_a_dead_worker(synthetic, tmp_path):
    """TensorFlow blocks the main thread of the chief."""
    with helpers.make_cluster(synthetic, tmp_path, '--mode=sync', '--steps=100000') as cluster:
        cluster.start()
        helpers.wait_for_line(cluster, 'worker 0', '^step 5/')
        cluster.send(signal.SIGKILL, 'worker 1')
        cluster.wait('worker 1')
        step = cluster.steps('worker 0')[-1]
        cluster.send(signal.SIGTERM, 'worker 0', 'ps 0')
        assert cluster.wait('worker 0', 'ps 0', timeout=60) == {'worker 0': 143, 'ps 0': 143}
    assert finding.last_step(str(tmp_path)) >= step


@pytest.mark.slow
def test_a_server_that_is_killed_for_good_ends_every_task_with_one_line(synthetic, tmp_path):
    """The other server lives, so that a step may wait there."""
    with helpers.make_cluster(synthetic, tmp_path, '--mode=sync', '--steps=100000',
                              '--wait_secs=40', servers=2) as cluster:
        cluster.start()
        helpers.wait_for_line(cluster, 'worker 0', '^step 3/')
        cluster.send(signal.SIGKILL, 'ps 1')
        codes = cluster.wait(timeout=240)
    assert codes == {'ps 0': 1, 'ps 1': -signal.SIGKILL, 'worker 0': 1, 'worker 1': 1}, (
        helpers.output(cluster))
    assert 'Traceback' not in helpers.output(cluster), helpers.output(cluster)
    for name in ('ps 0', 'worker 0', 'worker 1'):
        error, = (line for line in cluster.lines[name] if line.startswith('error: '))
        assert error == cluster.lines[name][-1], helpers.output(cluster)
        if name != 'ps 0':
            assert f"no answer from ps 1 ({cluster.hosts['ps 1']})" in error
            assert 'start the missing task, then restart this one' in error


@pytest.mark.slow
def test_two_workers_follow_the_steps_of_one_process(synthetic, tmp_path):
    """The mean of the losses of both shards is the loss of one process, except for rounding.

    The learning rate is low: at 0.1 rounding errors grow tenfold in two steps, as they do between
    one process with one thread and with two.
    """
    flags = ('--model=lenet5', '--recipe=tutorial', '--set=batch_size=32',
             '--set=learning_rate=0.0005', '--steps=50', '--deterministic')
    single = in_process.run('train.py', *processes.train_command(
        synthetic, tmp_path / 'single', '--summary_steps=0', '--histogram_steps=0', *flags)[2:])
    assert single.code == 0, single
    single = _losses(single.stdout)
    with helpers.make_cluster(synthetic, tmp_path / 'cluster', '--mode=sync', *flags) as cluster:
        cluster.start()
        helpers.assert_ends_well(cluster)
        shards = [_losses('\n'.join(cluster.lines[name])) for name in ('worker 0', 'worker 1')]
    assert sorted(single) == list(range(1, 51))
    for step, loss in single.items():
        assert abs((shards[0][step] + shards[1][step]) / 2 - loss) < 1e-4, step


def _losses(output):
    """Return {step: loss} of the lines that show progress."""
    matches = re.finditer(r'^step (\d+)/.* loss ([\d.]+)', output, re.MULTILINE)
    return {int(match.group(1)): float(match.group(2)) for match in matches}
